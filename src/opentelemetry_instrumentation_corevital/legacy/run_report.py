"""A run that was just judged as a report of schema 0.4.0: what a store would hold of it, made without one."""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .._internal.npz import to_npz
from ..assessment import run_attributes as emitted
from ..assessment.verdict_attributes import verdict_attributes
from ..catalogue import prompt_columns
from ..config import Settings
from ..emission.run_data import run_columns
from ..emission.span import emit_run, in_full
from ..run import Run
from ..semconv import SCOPE_NAME
from ..store.common_rows import source, to_json
from ..store.run_reader import stored_run
from ..store.span_rows import RUN_COLUMNS, SpanFields, rows_of
from ..store.stored_run import COLUMNS, StoredRun, summary_of
from ..version import __version__
from .report import report_of

_OF_PROMPT: Final = frozenset(each.name for each in prompt_columns.COLUMNS)
_NO_LIMIT: Final = 2**40


def report_of_run(
    run: Run, settings: Settings, *, trace_id: str, span_id: str, attributes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a judged run's report, as JSON values.

    Its timeline has the layers' numbers where the run is reported in full, see `Settings.capture`.

    Args:
        run: the judged run.
        settings: how much is told of it.
        trace_id: of its call, as hexadecimal digits.
        span_id: of its span, or that of its call.
        attributes: what the run's span has beside what the run says: retrieved documents, message text.
    """
    return report_of(_as_stored(run, settings, trace_id, span_id, attributes or {}))


def _as_stored(run: Run, settings: Settings, trace_id: str, span_id: str, attributes: Mapping[str, Any]) -> StoredRun:
    span, content = _Collected(), settings.content_on_span
    span.set_attributes(emitted.start_attributes(run.model.name, chat=run.prompt.chat))
    span.set_attributes(emitted.request_attributes(run.decoding, content=content))
    span.set_attributes(emitted.response_attributes(run.model.name, [run]))
    span.set_attributes(emitted.model_attributes(run.model))
    if run.sequence_count > 1:
        span.set_attributes(emitted.sequence_attributes(run))
    span.set_attributes(attributes)
    span.set_attributes(verdict_attributes(run))
    collected: Any = span
    emit_run(collected, run, settings, _NO_LIMIT)
    origin = source(Resource({}), InstrumentationScope(SCOPE_NAME, __version__))
    fields = SpanFields(
        trace_id, span_id, origin, run.model.name, run.start_ns, run.end_ns, span.attributes, events=span.events
    )
    rows = rows_of(fields)
    row = {"label": None, **dict(zip(RUN_COLUMNS, rows.run or (), strict=True))}
    full = in_full(run, settings)
    columns = run_columns(run, content=settings.content)
    data = to_npz({name: values for name, values in columns.items() if full or values.ndim == 1 or name in _OF_PROMPT})
    return stored_run(
        summary_of(tuple(row[name] for name in COLUMNS)),
        to_json(span.attributes),
        [(event[4], event[3], event[5]) for event in rows.events],
        data=data,
        data_bytes=len(data),
    )


class _Collected:
    """Takes what a span takes."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}
        self.events: list[tuple[int, str, Mapping[str, Any] | None]] = []

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.attributes.update(attributes)

    def set_attribute(self, name: str, value: Any) -> None:
        self.attributes[name] = value

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        self.events.append((timestamp or 0, name, attributes))
