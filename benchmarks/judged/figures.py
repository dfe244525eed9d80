"""What a page of results is made of: figures with goal and interval, in sections; and the statistics behind them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, what came out, what was aimed at."""

    name: str
    value: str
    goal: str = ""
    met: bool | None = None
    """Whether the goal is met; None where there is none."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, its figures, and what a reader has to know about them."""

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = field(default_factory=tuple)


def wilson(hits: float, total: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927); a mean over draws may have parts of a run."""
    if not total:
        return math.nan, math.nan
    share, square = hits / total, Z95 * Z95
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z95 / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def share(name: str, hits: int, total: int, *, least: float | None = None, most: float | None = None) -> Figure:
    """Return a share with its interval; `least` or `most` is the goal, held against the point estimate."""
    low, high = wilson(hits, total)
    value = f"{hits / total:.3f} ({hits} of {total}; {low:.3f} to {high:.3f})" if total else "no run"
    if least is not None:
        return Figure(name, value, f">= {least:g}", bool(total) and hits / total >= least)
    if most is not None:
        return Figure(name, value, f"<= {most:g}", bool(total) and hits / total <= most)
    return Figure(name, value)


def percentiles(values: Sequence[float], at: Sequence[float]) -> str:
    """Return percentiles, rounded to whole numbers."""
    return ", ".join(f"{value:.0f}" for value in np.percentile(values, at))


def auroc(scores: NDArray[Any], positive: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Return the area under the ROC curve, ties counted half; NaN where a class is empty."""
    weights = np.ones(len(scores)) if weights is None else weights
    values, place = np.unique(scores, return_inverse=True)
    hits = np.bincount(place, weights * positive, len(values))
    misses = np.bincount(place, weights * ~positive.astype(bool), len(values))
    below = np.cumsum(misses) - misses
    with np.errstate(invalid="ignore"):
        return float((hits * (below + misses / 2)).sum() / (hits.sum() * misses.sum()))


def bootstrap(groups: Sequence[str], statistic: Callable[[NDArray[np.int64]], float], rounds: int = 300) -> str:
    """Return a statistic of row indices with its 95 % interval, the rows drawn anew by group."""
    names, place = np.unique(np.array(groups), return_inverse=True)
    rows = [np.flatnonzero(place == index) for index in range(len(names))]
    draw = np.random.default_rng(0)
    draws = [draw.integers(0, len(rows), len(rows)) for _ in range(rounds)]
    drawn = [statistic(np.concatenate([rows[index] for index in indices])) for indices in draws]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{statistic(np.arange(len(groups))):.3f} ({low:.3f} to {high:.3f})"


def render(title: str, intro: str, sections: Sequence[Section]) -> str:
    """Return the page as Markdown."""
    lines = [f"# {title}", "", intro.strip(), ""]
    for section in sections:
        goals = any(figure.goal for figure in section.figures)
        lines += [f"## {section.title}", ""]
        lines += ["| figure | value | goal | |", "|---|---|---|---|"] if goals else ["| figure | value |", "|---|---|"]
        for figure in section.figures:
            verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
            cells = (figure.name, figure.value, figure.goal, verdict) if goals else (figure.name, figure.value)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
        lines += [line for note in section.notes for line in (note, "")]
    return "\n".join(lines).rstrip() + "\n"
