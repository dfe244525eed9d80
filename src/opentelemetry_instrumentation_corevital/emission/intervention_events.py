"""What policies did to a run, as `corevital.intervention` events of its span."""

import json
from typing import Any, Final

from .._internal.values import plain
from ..assessment.verdict_attributes import INTERVENTION
from ..catalogue import intervention_names
from ..catalogue.fitting import fitting
from ..run import Intervention, Run
from . import budget

MOST_EVENTS: Final = 15
"""Of the 16 that step events leave free, one is for the exception that ended the call."""
_PART: Final = 6
"""With their evidence they take a sixth of the span's bytes at most."""

Event = tuple[int, dict[str, Any]]
"""Unix time in nanoseconds, and the attributes."""


def intervention_events(run: Run, limit: int) -> tuple[list[Event], dict[str, str]]:
    """Return the events of a run's last interventions, and what was cut, with the reason.

    Args:
        run: what happened.
        limit: bytes of the run's span.
    """
    told, beyond = run.interventions[-MOST_EVENTS:], len(run.interventions) - MOST_EVENTS
    cut = [f"{beyond} cut: a span has the last {MOST_EVENTS}"] if beyond > 0 else []
    events = [(each.time_ns, _attributes(each, evidence=True)) for each in told]
    if bytes_of(events) > limit // _PART:
        events = [(each.time_ns, _attributes(each, evidence=False)) for each in told]
        cut.append("evidence cut: span too large")
    return events, {"intervention_events": "; ".join(cut)} if cut else {}


def bytes_of(events: list[Event]) -> int:
    """Return an upper bound of the events' size in OTLP protobuf."""
    return sum(budget.event_bytes(intervention_names.EVENT, attributes) for _, attributes in events)


def _attributes(each: Intervention, *, evidence: bool) -> dict[str, Any]:
    """Return an event's attributes, what matters most last: an SDK with a lower limit drops the first ones."""
    numbers = json.dumps(plain(each.evidence), separators=(",", ":")) if evidence and each.evidence else None
    first = {intervention_names.EVIDENCE: numbers, intervention_names.TO_STEP: each.to_step}
    return fitting(first | {name: value(each) for name, value in reversed(INTERVENTION.items())})
