"""What a stored run has of every step, and lines of it as SVG paths."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from .. import semconv
from ..catalogue.signals import step_fields, timelines
from ..catalogue.spelling import for_people
from .interventions import intervention_marks
from .panel import mapping
from .shapes import EventShape, RunShape

WIDTH: Final = 1000
HEIGHT: Final = 100
_MOST_POINTS: Final = 1000
"""Of a line: beyond it each bucket of steps is drawn from its smallest to its largest value."""

SIGNALS: Final[Mapping[str, tuple[str, str, str]]] = {
    **{
        each.name: (
            each.step_name if each in step_fields(full=False) else "",
            line.title,
            each.unit if each.unit != "1" else "",
        )
        for each, line in timelines()
    },
    "risk_so_far": (semconv.STEP_RISK_SO_FAR, "risk so far", ""),
    "answer_so_far": (semconv.STEP_ANSWER_SO_FAR, "answer risk so far", ""),
}
"""Signal, which is its column in the run data -> its name in the step events of every run, its meaning, its unit."""

COLOURS: Final = {each.name: line.colours for each, line in timelines() if line.colours}
"""Signal by which tokens can be coloured -> which of its ends is strong."""

_STEPS_OF: Final = ("step", "first_step", "onset_step")
"""Where evidence says at which step something warned or began."""


@dataclass(frozen=True, slots=True)
class Line:
    """One signal over the steps."""

    signal: str
    title: str
    unit: str
    steps: Sequence[int]
    values: Sequence[float]
    """NaN where there is none."""

    @property
    def low(self) -> float:
        """Return the lower end of its axis: 0, or the smallest value below it."""
        return min(0.0, *(value for value in self.values if math.isfinite(value)))

    @property
    def high(self) -> float:
        """Return the largest value."""
        return max(value for value in self.values if math.isfinite(value))

    def path(self, last: int, most: int = _MOST_POINTS, *, digits: int = 1) -> str:
        """Return the line as an SVG path over steps 0 to `last` in a box of `WIDTH` x `HEIGHT`; a gap breaks it.

        Of more than `most` points it has those that draw the same picture; coordinates have so many digits.
        """
        low, high = self.low, self.high
        scale = HEIGHT / (high - low) if high > low else 0.0
        parts: list[str] = []
        before: int | None = None
        for step, value in thinned(self.steps, self.values, most):
            if not math.isfinite(value):
                before = None
                continue
            command = "M" if before is None else "L"
            parts.append(
                f"{command}{step * WIDTH / max(1, last):.{digits}f} {HEIGHT - (value - low) * scale:.{digits}f}"
            )
            before = step
        return "".join(parts)


def lines(run: RunShape) -> list[Line]:
    """Return every signal that the run has: from its run data, else from its recorded steps."""
    columns, events = run.columns, run.steps
    found = []
    for signal, (attribute, title, unit) in SIGNALS.items():
        if signal in columns:
            values = [float(value) for value in columns[signal]]
            steps: list[int] = list(range(len(values)))
        else:
            known = [each for event in events if attribute and _is_point(each := event.attributes, attribute)]
            steps = [int(each[semconv.STEP_INDEX]) for each in known]
            values = [float(each[attribute]) for each in known]
        if any(map(math.isfinite, values)):
            found.append(Line(signal, title, unit, steps, values))
    return found


def marks(attributes: Mapping[str, Any], interventions: Sequence[EventShape] = ()) -> list[tuple[int, str]]:
    """Return the steps at which flags and warnings say that something began, and policies acted, each with its name.

    Args:
        attributes: of the run's span.
        interventions: the events of what policies did; without them the attributes tell of the last one.
    """
    found = intervention_marks(attributes, interventions)
    for name in semconv.EVIDENCE:
        for what, numbers in mapping(attributes.get(name)).items():
            if (step := step_of(numbers)) is not None:
                found.append((step, for_people(what)))
    return sorted(dict.fromkeys(found))


def step_of(evidence: Any) -> int | None:
    """Return the step at which evidence says that something began; None where it says none."""
    if not isinstance(evidence, Mapping):
        return None
    return next((evidence[key] for key in _STEPS_OF if isinstance(evidence.get(key), int)), None)


def first_marks(run: RunShape, most: int) -> list[tuple[int, str]]:
    """Return at most so many marks, in order: verdicts go before what policies did, which may be much."""
    every = marks(run.attributes, run.interventions)
    done = set(intervention_marks(run.attributes, run.interventions))
    return sorted([*(each for each in every if each not in done), *(each for each in every if each in done)][:most])


def marks_text(found: Sequence[tuple[int, str]]) -> str:
    """Return marks in words."""
    return ", ".join(f"{name} (step {step})" for step, name in found)


def _is_point(attributes: Mapping[str, Any], name: str) -> bool:
    """Whether a step event has the step, which a limit on attributes may have taken, and a value of this signal."""
    step, value = attributes.get(semconv.STEP_INDEX), attributes.get(name)
    return isinstance(step, int) and step >= 0 and isinstance(value, int | float)


def thinned(steps: Sequence[int], values: Sequence[float], most: int) -> list[tuple[int, float]]:
    """Return points that draw the same picture: of each bucket the extremes, in order."""
    points = list(zip(steps, values, strict=True))
    if len(points) <= most:
        return points
    edges = [round(index * len(points) / (most // 2)) for index in range(most // 2 + 1)]
    kept: list[tuple[int, float]] = []
    for begin, end in pairwise(edges):
        bucket = [point for point in points[begin:end] if math.isfinite(point[1])]
        if not bucket:
            kept.append(points[begin])
            continue
        kept += sorted({min(bucket, key=lambda point: point[1]), max(bucket, key=lambda point: point[1])})
    return kept
