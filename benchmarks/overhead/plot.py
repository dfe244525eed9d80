"""Overhead of a decode step against context length and against batch, as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

WATCHED: Final = {"summary": "#1f77b4", "full": "#d62728"}
WIDTH, HEIGHT = 380, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 44, 46
MEANINGFUL_TOKENS = 9
"""New tokens from which on every phase of a step's period has been seen."""


@dataclass(frozen=True, slots=True)
class Point:
    """A ratio with its interval, at one place of the axis."""

    x: int
    middle: float
    low: float
    high: float


Series = Mapping[str, Sequence[Point]]


def plot(reports: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a drawing of the reports on one kind of model and machine; None where there is no line to draw."""
    usable = [report for report in reports if report["workload"]["new_tokens"] >= MEANINGFUL_TOKENS]
    panels = []
    for title, varied, fixed in (
        ("prompt tokens (batch {})", "prompt_tokens", "batch"),
        ("batch (prompt of {} tokens)", "batch", "prompt_tokens"),
    ):
        found, value = longest(usable, varied, fixed)
        if any(len(points) > 1 for points in found.values()):
            panels.append((title.format(value), found))
    if not panels:
        return None
    drawn = [panel(title, series, index * WIDTH) for index, (title, series) in enumerate(panels)]
    width = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def longest(reports: Sequence[Mapping[str, Any]], varied: str, fixed: str) -> tuple[Series, Any]:
    """Return the series with the most points among reports that differ in `varied` only, and the value of `fixed`."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for report in reports:
        work, place = report["workload"], report["environment"]
        key = (work[fixed], *(work[name] for name in ("model", "dtype", "cache")), place["gpu"] or place["cpu"])
        groups.setdefault(key, []).append(report)
    best: tuple[Series, Any] = {}, None
    for key, members in groups.items():
        found = {arm: points(members, varied, arm) for arm in WATCHED}
        if sum(map(len, found.values())) > sum(map(len, best[0].values())):
            best = found, key[0]
    return best


def points(reports: Sequence[Mapping[str, Any]], varied: str, arm: str) -> list[Point]:
    """Return an arm's points; of two at the same place the one of more pairs."""
    found: dict[int, Mapping[str, Any]] = {}
    for report in reports:
        figures, x = report["arms"].get(arm, {}), report["workload"][varied]
        if "step" in figures and (x not in found or figures["pairs"] > found[x]["pairs"]):
            found[x] = figures
    return [Point(x, found[x]["step"]["median"], *found[x]["step"]["ci95"]) for x in sorted(found)]


def panel(title: str, series: Series, offset: int) -> str:
    """Return one set of axes with its lines; places on the x axis are evenly spaced."""
    places = sorted({point.x for line in series.values() for point in line})
    values = [value for line in series.values() for point in line for value in (point.low, point.high)]
    bottom, top = min(1.0, *values), max(1.01, *values)
    room = (top - bottom) * 0.08
    bottom, top = bottom - room, top + room
    gap = (WIDTH - LEFT - RIGHT) / max(len(places), 1)

    def across(x: int) -> float:
        return LEFT + gap * (places.index(x) + 0.5)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<g transform="translate({offset},0)">']
    for tick in (bottom + (top - bottom) * share / 4 for share in range(5)):
        parts.append(_line(LEFT, up(tick), WIDTH - RIGHT, up(tick), "#ddd"))
        parts.append(_text(LEFT - 6, up(tick) + 4, f"{tick:.3f}", "end"))
    parts.append(_line(LEFT, up(1), WIDTH - RIGHT, up(1), "#666"))
    parts += [_text(across(x), HEIGHT - BOTTOM + 16, str(x)) for x in places]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, title))
    parts.append(_text(LEFT, 16, "decode step, ratio to plain", "start"))
    for index, (arm, line) in enumerate(series.items()):
        colour, shift = WATCHED[arm], 6 * index - 3  # beside each other, so that both intervals are seen
        path = " ".join(f"{across(point.x) + shift:.1f},{up(point.middle):.1f}" for point in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for point in line:
            x = across(point.x) + shift
            parts.append(_line(x, up(point.low), x, up(point.high), colour))
            parts.append(f'<circle cx="{x:.1f}" cy="{up(point.middle):.1f}" r="3" fill="{colour}"/>')
        parts.append(_text(LEFT + 60 * index, 32, f"\N{BLACK CIRCLE} {arm}", "start", colour))
    return "\n".join([*parts, "</g>"])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
