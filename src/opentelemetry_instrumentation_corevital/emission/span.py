"""A judged run onto its span, within the span's budget of bytes and events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import Span

from .. import semconv
from ..assessment.verdict_attributes import carried_attributes, verdict_attributes
from ..catalogue.fitting import fitting
from ..config import Settings
from ..run import Run
from . import budget
from .layer_arrays import layer_attributes
from .run_attributes import SERIES_POINTS, absent_attribute, series_attributes, summary_attributes
from .step_events import StepEvents, choose_steps

_JUDGEMENT_RESERVE: Final = 6 * 1024
"""What judgements are taken to have set on a span whose attributes cannot be read back."""
_SMALL_SERIES: Final = 64


@dataclass(frozen=True, slots=True)
class Reported:
    """What a run's span took, and what did not fit."""

    bytes: int
    dropped_events: int
    dropped_points: int
    dropped_messages: int


def emit_run(
    span: Span, run: Run, settings: Settings, limit: int, messages: Mapping[str, Any] | None = None, *, live: int = 0
) -> Reported:
    """Set a judged run's attributes and add its step events.

    What does not fit into `limit` bytes is cut in this order, and `corevital.capture.absent` says so: step events,
    points of the series, layer arrays, evidence, message text. Verdicts and GenAI names always stay.

    Args:
        span: a recording span; the judgements have already written on it.
        run: the judged run.
        settings: capture mode and event policy.
        limit: bytes of the encoded span.
        messages: message text, if content is switched on.
        live: steps that were told as log events already.
    """
    upgraded, full = is_upgraded(run, settings), in_full(run, settings)
    attributes = _run_attributes(run, settings, upgraded=upgraded)
    cut: dict[str, str] = {}
    messages = dict(messages or {})
    messages_lost = 0

    layers = layer_attributes(run)
    room = limit - budget.SPAN_OVERHEAD - _already(span) - budget.attributes_bytes(attributes) - 1024
    layers_lost = budget.attributes_bytes(layers) > room
    if layers_lost:
        cut["layers"] = "cut: span too large"
        layers = {}
    room -= budget.attributes_bytes(layers)
    evidence = {name: value for name, value in _evidence(span).items() if room < 0}
    if evidence:
        cut |= dict.fromkeys(evidence, "cut: span too large")
        room += budget.attributes_bytes(evidence)
        attributes |= dict.fromkeys(evidence, "{}")
    if messages and budget.attributes_bytes(messages) > room:
        cut |= dict.fromkeys(messages, "cut: span too large")
        messages, messages_lost = {}, len(messages)
    room -= budget.attributes_bytes(messages)

    series, holes, points_lost = _fitting_series(run, room)
    if points_lost:
        cut["series"] = "cut: span too large"
    room -= budget.attributes_bytes(series)
    events, events_lost = _fitting_events(run, settings, 0 if points_lost else room, full=full)
    if events_lost:
        cut["step_events"] = f"{events_lost} cut: span too large"

    for time_ns, event in events:
        span.add_event(semconv.STEP_EVENT, event, time_ns)
    recorded = live + max(0, len(events) - int(getattr(span, "dropped_events", 0) or 0))
    span.set_attributes(
        fitting(
            attributes
            | layers
            | series
            | messages
            | absent_attribute({**run.absent, **holes, **cut})
            | {semconv.STEPS_RECORDED: recorded}
        )
    )
    if getattr(span, "dropped_attributes", 0):  # the SDK drops the oldest: these must be the newest
        kept = carried_attributes(run, "keep") | fitting({semconv.STEPS_TOTAL: run.output_tokens})
        span.set_attributes({semconv.STEPS_RECORDED: recorded, **kept})
    used = limit - room + sum(budget.event_bytes(semconv.STEP_EVENT, event) for _, event in events)
    return Reported(used, events_lost, points_lost, messages_lost)


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
            **summary_attributes(run),
        }
    )


def capture_attributes(settings: Settings) -> dict[str, Any]:
    """Return how much is looked at."""
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


def _fitting_series(run: Run, room: int) -> tuple[dict[str, Any], dict[str, str], int]:
    """Return the series with as many points as fit, their holes, and how many points were cut."""
    wanted, holes = series_attributes(run, SERIES_POINTS)
    series = wanted
    for points in (_SMALL_SERIES, 0):
        if budget.attributes_bytes(series) <= room:
            break
        series, _ = series_attributes(run, points)
    lost = _points(wanted) - _points(series)
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
