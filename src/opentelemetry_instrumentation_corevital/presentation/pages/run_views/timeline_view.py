"""The timelines of a run for its page: its lines, and what is marked on them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from .... import semconv
from ....catalogue import intervention_names
from ....catalogue.spelling import for_people
from ....catalogue.verdicts import FLAG
from ...interventions import intervention_marks
from ...panel import mapping
from ...shapes import RunShape
from ...timeline import Line, marks, thinned
from ..page_formats import fixed, number

MOST_POINTS: Final = 6000
"""Of a line that is sent to the browser; of more each bucket keeps its smallest and its largest."""
_MOST_COPIES: Final = 60
"""Bands that are drawn one by one; more would be one surface anyway."""
_MOST_ROWS: Final = 120
_DIGITS: Final = 5
_LOOP: Final = "repetition_loop_detected"
_REPEATS: Final = "repetition_risk"


def timelines_view(run: RunShape, found: Sequence[Line], steps: int) -> dict[str, Any]:
    """Return the lines with their values, bands and marks, as the page's script reads them.

    Args:
        run: the run.
        found: its lines.
        steps: how many it has.
    """
    return {
        "last": max(0, steps - 1),
        "lines": [_line(each) for each in found],
        "bands": [*copies(run, steps), *_acted_on(run, steps)],
        "marks": marks_view(run, steps),
    }


def marks_view(run: RunShape, steps: int) -> list[dict[str, Any]]:
    """Return the steps at which flags and warnings began and policies acted, in order, each with its name and kind."""
    acted = set(intervention_marks(run.attributes, run.interventions))
    flags = {flag.label for flag in FLAG.values()}
    return [
        {
            "step": step,
            "name": name,
            "kind": "intervention" if (step, name) in acted else "flag" if name in flags else "warning",
        }
        for step, name in marks(run.attributes, run.interventions)
        if 0 <= step < steps
    ]


def copies(run: RunShape, steps: int) -> list[dict[str, Any]]:
    """Return the copies of a loop as bands of steps, the end not included; one band where they are no equal copies."""
    health = mapping(run.attributes.get(semconv.HEALTH_EVIDENCE)).get(_LOOP)
    early = mapping(run.attributes.get(semconv.EARLY_WARNING_EVIDENCE)).get(_REPEATS)
    evidence, name = (health, for_people(_LOOP)) if isinstance(health, Mapping) else (early, "repetition")
    if not isinstance(evidence, Mapping):
        return []
    period, count = evidence.get("period"), evidence.get("copies")
    onset = evidence.get("onset_step")
    start = evidence.get("start_step", onset)
    if not (_is_step(period) and period and _is_step(start) and isinstance(count, int | float) and count > 0):
        return []
    end = min(steps, start + math.ceil(period * min(count, steps)))
    if evidence.get("exact") is True and count <= _MOST_COPIES:
        edges = range(start, end, period)
        return [
            _band(at, min(at + period, end), f"{name}: copy {copy}", "copy", copy % 2 == 0)
            for copy, at in enumerate(edges, 1)
        ]
    told = f"{name}: {number(count)} copies of about {period} tokens"
    return [_band(start, end, told, "copy", False)] if start < end else []


def step_table(found: Sequence[Line]) -> dict[str, Any]:
    """Return the lines as a table: a row for every step, or for those with the extremes and some between."""
    values = [dict(zip(line.steps, line.values, strict=True)) for line in found]
    every = sorted({step for each in values for step in each})
    kept = set(every if len(every) <= _MOST_ROWS else every[:: -(-len(every) // _MOST_ROWS)])
    for line in found:
        known = [(value, step) for step, value in zip(line.steps, line.values, strict=True) if math.isfinite(value)]
        kept |= {min(known)[1], max(known)[1]}
    return {
        "head": ["step", *(f"{line.title}{f', {line.unit}' if line.unit else ''}" for line in found)],
        "rows": [[step, *(fixed(each.get(step), 3) for each in values)] for step in sorted(kept)],
        "left_out": len(every) - len(kept),
    }


def _line(line: Line) -> dict[str, Any]:
    points = thinned(line.steps, line.values, MOST_POINTS)
    steps = [step for step, _ in points]
    return {
        "signal": line.signal,
        "title": line.title,
        "unit": line.unit,
        "steps": None if steps == list(range(len(steps))) else steps,
        "values": [_rounded(value) for _, value in points],
    }


def _acted_on(run: RunShape, steps: int) -> list[dict[str, Any]]:
    """Return what policies did as bands: from where a rollback went back to, else of one step."""
    found = []
    for event in run.interventions:
        step, to = (event.attributes.get(name) for name in (semconv.INTERVENTION_STEP, intervention_names.TO_STEP))
        if not _is_step(step) or step >= steps:
            continue
        start = to if _is_step(to) and to < step else step
        kind = for_people(str(event.attributes.get(semconv.INTERVENTION_KIND, "intervention")))
        found.append(_band(start, step + 1 if start == step else step, kind, "intervention", False))
    return found


def _band(start: int, end: int, name: str, kind: str, second: bool) -> dict[str, Any]:
    return {"from": start, "to": end, "name": name, "kind": kind, "second": second}


def _is_step(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
