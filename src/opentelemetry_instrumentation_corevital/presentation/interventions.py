"""What policies did to a run, a line each, from its span's events or, where these are not there, its attributes."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import semconv
from .._internal.json_text import json_object, too_deep
from ..catalogue import intervention_names
from ..catalogue.spelling import LABELS
from .evidence_text import evidence_text
from .shapes import EventShape


def intervention_lines(attributes: Mapping[str, Any], events: Sequence[EventShape]) -> list[str]:
    """Return a line for each intervention, in order.

    Args:
        attributes: of the run's span, which have the last one.
        events: those of the interventions.
    """
    found = [event.attributes for event in events if semconv.INTERVENTION_KIND in event.attributes]
    if not found and semconv.INTERVENTION_KIND in attributes:
        found = [attributes]
    return [_line(each.get) for each in found]


def intervention_marks(attributes: Mapping[str, Any], events: Sequence[EventShape]) -> list[tuple[int, str]]:
    """Return the step and the kind of each intervention whose step is known; arguments are those of the lines."""
    found = [event.attributes for event in events] or [attributes]
    return [
        (step, str(each.get(semconv.INTERVENTION_KIND, "intervention")).replace("_", " "))
        for each in found
        if isinstance(step := each.get(semconv.INTERVENTION_STEP), int)
    ]


def _line(get: Any) -> str:
    step, to, mode = (
        get(name) for name in (semconv.INTERVENTION_STEP, intervention_names.TO_STEP, intervention_names.ROLLBACK_MODE)
    )
    left, trigger = get(intervention_names.TOKENS_LEFT), get(semconv.INTERVENTION_TRIGGER)
    numbers = _numbers(get(intervention_names.EVIDENCE))
    parts = (
        None if step is None else f"step {step}:",
        str(get(semconv.INTERVENTION_KIND, "")).replace("_", " "),
        None if to is None else f"to step {to}",
        None if mode is None else f"by {mode}",
        None if trigger is None else f"on {LABELS.get(trigger, trigger)}",
        f"({numbers})" if numbers else None,
    )
    rest = (get(semconv.INTERVENTION_OUTCOME), None if left is None else f"{left} tokens left")
    return ", ".join([" ".join(filter(None, parts)), *filter(None, rest)])


def _numbers(text: Any) -> str:
    found = json_object(text) if isinstance(text, str) else None
    return "" if found is None or too_deep(found) else evidence_text(found)
