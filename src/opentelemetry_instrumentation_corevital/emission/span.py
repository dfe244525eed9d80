"""A judged run onto its span, within the span's budget of bytes and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.trace import Span

from .. import semconv
from ..assessment.layer_arrays import layer_attributes
from ..assessment.prompt_on_span import SPARED, absent_of_prompt, prompt_attributes
from ..assessment.run_attributes import SERIES_POINTS, absent_attribute, series_attributes, summary_attributes
from ..assessment.verdict_attributes import carried_attributes, verdict_attributes
from ..catalogue import intervention_names, rag_names
from ..catalogue.fitting import fitting
from ..config import Settings
from ..run import Run
from . import budget
from .intervention_events import bytes_of, intervention_events
from .step_events import StepEvents, choose_steps

_JUDGEMENT_RESERVE: Final = 6 * 1024
"""What judgements are taken to have set on a span whose attributes cannot be read back."""
_SMALL_SERIES: Final = 64
_MOST_ATTRIBUTES: Final = 97
"""Of those that every run may have; what a call that failed says of that comes later."""
_CARRIED: Final = semconv.content_attributes() | {rag_names.CONTEXT_TOKEN_COUNT, rag_names.DOCUMENT_COUNT}
"""What its caller gives a span to carry, which does not count."""
_COPIES: Final = (semconv.INPUT_VALUE, semconv.OUTPUT_VALUE)
"""Message text that the span has under the conventions' names, too."""
_TOO_LARGE: Final = "cut: span too large"


@dataclass(frozen=True, slots=True)
class Reported:
    """What a run's span took, and what did not fit."""

    bytes: int
    dropped_events: int
    dropped_points: int
    dropped_messages: int


@dataclass(slots=True)
class _Room:
    """The bytes of a span that are left, and what did not fit into them."""

    bytes: int
    cut: dict[str, str] = field(default_factory=dict)
    """What was cut, with the reason."""


def emit_run(
    span: Span, run: Run, settings: Settings, limit: int, messages: Mapping[str, Any] | None = None, *, live: int = 0
) -> Reported:
    """Set a judged run's attributes and add its step events, and those of what policies did.

    What does not fit into `limit` bytes is cut in this order, and `corevital.capture.absent` says so: step events,
    a second copy of message text, points of the series, layer arrays, evidence, message text. Verdicts and GenAI names
    always stay.

    Args:
        span: a recording span; the judgements have already written on it.
        run: the judged run.
        settings: capture mode and event policy.
        limit: bytes of the encoded span.
        messages: message text, if content is switched on.
        live: steps that were told as log events already.
    """
    attributes = _run_attributes(run, settings, upgraded=is_upgraded(run, settings))
    interventions, cut = intervention_events(run, limit)
    others = budget.SPAN_OVERHEAD + _already(span) + budget.attributes_bytes(attributes) + bytes_of(interventions)
    room = _Room(limit - others - 1024, cut)
    layers = _fitting_layers(run, room)
    evidence = _evidence_cut(span, room)
    copies = {name: text for name, text in (messages or {}).items() if name in _COPIES}
    text = _fitting_messages({name: text for name, text in (messages or {}).items() if name not in copies}, room)
    series, holes, points_lost = _fitting_series(run, room)
    text |= _fitting_messages(copies, room, whole=not points_lost)
    events, events_lost = _fitting_events(run, settings, 0 if points_lost else room.bytes, full=in_full(run, settings))
    if events_lost:
        room.cut["step_events"] = f"{events_lost} {_TOO_LARGE}"

    told_before = len(getattr(span, "events", None) or ())  # those of judgements, which an SDK drops first
    for time_ns, event in events:
        span.add_event(semconv.STEP_EVENT, event, time_ns)
    for time_ns, event in interventions:  # last: an SDK with a lower limit drops the first ones
        span.add_event(intervention_names.EVENT, event, time_ns)
    dropped = max(0, int(getattr(span, "dropped_events", 0) or 0) - told_before)
    recorded = {semconv.STEPS_RECORDED: live + max(0, len(events) - dropped)}
    told = attributes | evidence | layers | series | text
    spared = _spared(span, run, {*told, *recorded, semconv.CAPTURE_ABSENT})
    absent = absent_attribute({**run.absent, **absent_of_prompt(run.prompt_analysis), **holes, **room.cut, **spared})
    span.set_attributes(fitting({n: value for n, value in (told | absent | recorded).items() if n not in spared}))
    if getattr(span, "dropped_attributes", 0):  # the SDK drops the oldest: these must be the newest
        kept = carried_attributes(run, "keep") | fitting({semconv.STEPS_TOTAL: run.output_tokens})
        span.set_attributes({**recorded, **kept})
    used = limit - room.bytes + sum(budget.event_bytes(semconv.STEP_EVENT, event) for _, event in events)
    return Reported(used, events_lost, points_lost, len(messages or {}) - len(text))


def in_full(run: Run, settings: Settings) -> bool:
    """Whether a judged run is reported with everything that was measured."""
    return settings.capture == "full" or is_upgraded(run, settings)


def is_upgraded(run: Run, settings: Settings) -> bool:
    """Whether mode `on_risk` reports this run in full: a high risk or a raised flag."""
    if settings.capture != "on_risk":
        return False
    risky = run.risk is not None and run.risk.score >= settings.risk_threshold
    return risky or (run.health is not None and bool(run.health.raised()))


def _run_attributes(run: Run, settings: Settings, *, upgraded: bool) -> dict[str, Any]:
    return fitting(
        {
            semconv.SCHEMA: semconv.SCHEMA_VERSION,
            **capture_attributes(settings),
            semconv.CAPTURE_UPGRADED: upgraded if settings.capture == "on_risk" else None,
            semconv.DECODING_STRATEGY: run.decoding.strategy,
            semconv.STEPS_TOTAL: run.output_tokens,
            **verdict_attributes(run, "warnings"),
            **verdict_attributes(run, "outcome"),
            **verdict_attributes(run, "baseline"),
            **verdict_attributes(run, "assessment"),
            **summary_attributes(run),
            **prompt_attributes(run),
        }
    )


def _spared(span: Span, run: Run, names: set[str]) -> dict[str, str]:
    """Return what the span goes without, with the reason, where what it says of the prompt would be too much for it."""
    names |= set(getattr(span, "attributes", None) or ())
    over = len(names - _CARRIED) - _MOST_ATTRIBUTES if run.prompt_analysis is not None else 0
    there = [name for name in SPARED if name in names]
    return dict.fromkeys(there[: max(0, over)], f"cut: a span has at most {_MOST_ATTRIBUTES} attributes")


def capture_attributes(settings: Settings) -> dict[str, Any]:
    """Return how much is captured."""
    return fitting(
        {
            semconv.CAPTURE_MODE: settings.capture,
            semconv.CAPTURE_RATIO: settings.capture_ratio if settings.capture_ratio < 1 else None,
            semconv.CAPTURE_ATTENTION_EVERY: settings.attention_steps,
            semconv.CAPTURE_LAYERS: settings.layers if settings.layers.strip().lower() != "all" else None,
        }
    )


def _already(span: Span) -> int:
    attributes = getattr(span, "attributes", None)
    return budget.attributes_bytes(attributes) if isinstance(attributes, Mapping) else _JUDGEMENT_RESERVE


def _evidence(span: Span) -> dict[str, Any]:
    attributes = getattr(span, "attributes", None)
    if not isinstance(attributes, Mapping):
        return {}
    return {name: attributes[name] for name in semconv.EVIDENCE if name in attributes}


def _fitting_layers(run: Run, room: _Room) -> dict[str, Any]:
    """Return the layer arrays, or none where they do not fit."""
    layers = layer_attributes(run)
    if budget.attributes_bytes(layers) > room.bytes:
        room.cut["layers"] = _TOO_LARGE
        return {}
    room.bytes -= budget.attributes_bytes(layers)
    return layers


def _evidence_cut(span: Span, room: _Room) -> dict[str, Any]:
    """Return what takes the place of the evidence on the span, where there is no room for it; else nothing."""
    evidence = _evidence(span) if room.bytes < 0 else {}
    room.cut |= dict.fromkeys(evidence, _TOO_LARGE)
    room.bytes += budget.attributes_bytes(evidence)
    return dict.fromkeys(evidence, "{}")


def _fitting_messages(messages: Mapping[str, Any], room: _Room, *, whole: bool = True) -> dict[str, Any]:
    """Return the message text, or none where it does not fit, or what matters more is not whole."""
    if not whole or budget.attributes_bytes(messages) > room.bytes:
        room.cut |= dict.fromkeys(messages, _TOO_LARGE)
        return {}
    room.bytes -= budget.attributes_bytes(messages)
    return dict(messages)


def _fitting_series(run: Run, room: _Room) -> tuple[dict[str, Any], dict[str, str], int]:
    """Return the series with as many points as fit, their holes, and how many points were cut."""
    wanted, holes = series_attributes(run, SERIES_POINTS)
    series = wanted
    for points in (_SMALL_SERIES, 0):
        if budget.attributes_bytes(series) <= room.bytes:
            break
        series, _ = series_attributes(run, points)
    lost = _points(wanted) - _points(series)
    if lost:
        room.cut["series"] = _TOO_LARGE
    room.bytes -= budget.attributes_bytes(series)
    return series, holes if series else {}, lost


def _points(series: Mapping[str, Any]) -> int:
    return sum(len(values) for values in series.values() if isinstance(values, list))


def _fitting_events(
    run: Run, settings: Settings, room: int, *, full: bool
) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """Return the step events that fit, with their times, and how many of those that the policy wants were cut."""
    limit = settings.max_step_events if settings.step_events == "span" else 0
    steps = choose_steps(run, limit) if limit else []
    if not steps:
        return [], 0
    said = StepEvents(run, full=full)
    events = {step: said.attributes(step) for step in steps}
    sizes = [budget.event_bytes(semconv.STEP_EVENT, event) for event in events.values()]
    if sum(sizes) > room:
        fitting = max(0, room // max(sizes))
        events = {step: said.attributes(step) for step in choose_steps(run, fitting)} if fitting else {}
    return [(int(run.time_ns[step]), event) for step, event in events.items()], len(steps) - len(events)
