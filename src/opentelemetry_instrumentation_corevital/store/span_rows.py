"""Spans as rows of the store."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from .. import semconv
from .._internal.values import clean
from ..catalogue import prompt_names
from .checked_attributes import Findings, checked_attributes, damage_json
from .common_rows import Lost, Row, Source, insert, integer, number, size_of, source, text, to_json
from .data_damage import note_damage_of_data
from .fingerprint_rows import INSERT_FINGERPRINT, fingerprint_row
from .run_columns import COLUMN_ATTRIBUTES, PROMPT_COLUMNS, SET_COLUMNS
from .sqlite_labels import COPY_LABEL

_SPAN_COLUMNS: Final = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "name",
    "kind",
    "start_ns",
    "end_ns",
    "status_code",
    "status_message",
    "attributes",
    "dropped_attributes",
    "dropped_events",
    "dropped_links",
)
_EVENT_COLUMNS: Final = ("trace_id", "span_id", "seq", "time_ns", "name", "attributes")
_LINK_COLUMNS: Final = ("trace_id", "span_id", "seq", "linked_trace_id", "linked_span_id", "trace_state", "attributes")


@dataclass(frozen=True, slots=True)
class SpanFields:
    """A finished span, wherever it comes from; attributes are plain Python values."""

    trace_id: str
    span_id: str
    source: Source
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    parent_span_id: str | None = None
    trace_state: str = ""
    kind: int = 1
    status_code: int = 0
    status_message: str = ""
    events: Sequence[tuple[int, str, Mapping[str, Any] | None]] = ()
    """Time, name and attributes of each."""
    links: Sequence[tuple[str, str, str, Mapping[str, Any] | None]] = ()
    """Trace id, span id, trace state and attributes of each."""
    dropped: tuple[int, int, int] = (0, 0, 0)
    """Attributes, events and links that the source left out."""


@dataclass(frozen=True, slots=True)
class SpanRows:
    """Everything that the store keeps of one span."""

    source: Source
    span: Row
    events: tuple[Row, ...]
    links: tuple[Row, ...]
    run: Row | None
    bytes: int
    damage: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with a run's values, which read as absent: the name of each -> why."""
    fingerprint: Row | None = None
    """Version and vector of a run's fingerprint."""

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Write the span; a second delivery replaces the first with all that hangs on it, and keeps its label."""
        key = self.span[:2]
        before = connection.execute(_DELETE_SPAN, key).rowcount
        connection.execute(_INSERT_SPAN, (*self.span, time.time_ns(), *self.source.ids(connection)))
        connection.executemany(_INSERT_EVENT, self.events)
        connection.executemany(_INSERT_LINK, self.links)
        if self.run is not None:
            connection.execute(_INSERT_RUN, self.run)
            if self.fingerprint is not None:
                connection.execute(INSERT_FINGERPRINT, (*key, *self.fingerprint))
            note_damage_of_data(connection, key)
            if before:  # a label can only have been given to what was there
                connection.execute(COPY_LABEL, key)
        return [Lost(0, f"{name} {why}; it reads as absent.", own=False) for name, why in self.damage.items()]


def span_rows(span: ReadableSpan) -> SpanRows:
    """Return a finished span's rows."""
    context = span.get_span_context()
    if context is None:
        raise ValueError("a span without a context cannot be stored")
    fields = SpanFields(
        format_trace_id(context.trace_id),
        format_span_id(context.span_id),
        source(span.resource, span.instrumentation_scope),
        span.name,
        span.start_time or 0,
        span.end_time or span.start_time or 0,
        span.attributes or {},
        parent_span_id=format_span_id(span.parent.span_id) if span.parent is not None else None,
        trace_state=_trace_state(context),
        kind=span.kind.value + 1,
        status_code=span.status.status_code.value,
        status_message=span.status.description or "",
        events=[(event.timestamp, event.name, event.attributes) for event in span.events],
        links=[
            (
                format_trace_id(link.context.trace_id),
                format_span_id(link.context.span_id),
                _trace_state(link.context),
                link.attributes,
            )
            for link in span.links
        ],
        dropped=(span.dropped_attributes, span.dropped_events, span.dropped_links),
    )
    return rows_of(fields)


def rows_of(span: SpanFields) -> SpanRows:
    """Return a span's rows."""
    key, attributes, origin = (span.trace_id, span.span_id), span.attributes, span.source
    row = (
        *key,
        span.parent_span_id,
        clean(span.trace_state),
        clean(span.name),
        span.kind,
        span.start_ns,
        span.end_ns,
        span.status_code,
        clean(span.status_message),
        to_json(attributes),
        *span.dropped,
    )
    events = tuple((*key, seq, at, clean(name), to_json(more)) for seq, (at, name, more) in enumerate(span.events))
    links = tuple((*key, seq, *linked, to_json(more)) for seq, (*linked, more) in enumerate(span.links))
    run, fingerprint, findings = None, None, Findings()
    if is_of_a_run(attributes):
        known, asked = checked_attributes(attributes, findings), dict[str, Any]()
        for place, (_, name, more) in enumerate(span.events):
            sound = checked_attributes(more or {}, findings, "event attribute", f"event {place}: ")
            if name == prompt_names.PROMPT_EVENT:
                asked = asked or sound
        judged = (_run_value(known, *reading) for reading in _RUN_ATTRIBUTES.values())
        of_prompt = (read(asked.get(name)) for read, name in _PROMPT_ATTRIBUTES)
        told, fingerprint = damage_json(findings.named), fingerprint_row(known)
        run = (*key, span.start_ns, span.end_ns, origin.service_name, *judged, told, origin.experiment, *of_prompt)
    size = origin.bytes + size_of(row, run or (), fingerprint or (), *events, *links)
    return SpanRows(origin, row, events, links, run, size, findings.named, fingerprint)


def is_of_a_run(attributes: Mapping[str, Any]) -> bool:
    """Return whether a span with these attributes is that of a run."""
    return not _RUN_MARKS.isdisjoint(attributes)


def _trace_state(context: SpanContext) -> str:
    return context.trace_state.to_header() if context.trace_state else ""


# --- the columns of a run: a value of another type than ours is somebody else's, and left out ---------------------


def _first_text(value: Any) -> str | None:
    return text(value[0]) if isinstance(value, list | tuple) and value else None


def _names(value: Any) -> str:
    """Return names as JSON; null where they are not there, which is not the same as none."""
    return json.dumps(
        [clean(name) for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else None
    )


def _index(value: Any) -> int:
    return integer(value) or 0


def _flag(value: Any) -> int | None:
    return int(value) if isinstance(value, bool) else None


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string": text,
    "int": integer,
    "double": number,
    "boolean": _flag,
    "string[]": _names,
}
"""Type of an attribute -> how its value becomes that of a column."""
_READ_ELSE: Final[Mapping[str, Callable[[Any], Any]]] = {"sequence_index": _index, "finish_reason": _first_text}
"""Columns that are read in another way than their attribute's type says."""
_RUN_ATTRIBUTES: Final = {
    column: (_READ_ELSE.get(column, _READ[semconv.DEFINITIONS["attribute", names[0]].type]), names)
    for column, names in COLUMN_ATTRIBUTES.items()
}
"""Column -> how its value is read, and the attributes that may hold it."""
_PROMPT_ATTRIBUTES: Final = [
    (_READ[semconv.DEFINITIONS["event attribute", name].type], name) for name in PROMPT_COLUMNS.values()
]

_RUN_MARKS: Final = frozenset((semconv.STEPS_TOTAL, semconv.STEPS_RECORDED))
"""What only a span of a run has: the first where its tokens are known, the second where CoreVital has judged it."""

RUN_COLUMNS: Final = (
    "trace_id",
    "span_id",
    "start_ns",
    "end_ns",
    "service_name",
    *_RUN_ATTRIBUTES,
    "damage",
    *SET_COLUMNS,
)


def _run_value(attributes: Mapping[str, Any], read: Callable[[Any], Any], names: tuple[str, ...]) -> Any:
    return read(next((attributes[name] for name in names if name in attributes), None))


_DELETE_SPAN: Final = "DELETE FROM spans WHERE trace_id = ? AND span_id = ?"
_INSERT_SPAN: Final = insert("spans", (*_SPAN_COLUMNS, "ingested_ns", "resource_id", "scope_id"))
_INSERT_EVENT: Final = insert("span_events", _EVENT_COLUMNS)
_INSERT_LINK: Final = insert("span_links", _LINK_COLUMNS)
_INSERT_RUN: Final = insert("runs", RUN_COLUMNS)
