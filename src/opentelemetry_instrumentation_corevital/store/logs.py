"""Log records as rows of the store."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.trace import format_span_id, format_trace_id

from .. import semconv
from .rows import ABSENT, Lost, Record, Row, Source, clean, dump, insert, plain, size_of, source, text, to_json
from .run_data import run_data_chunk

_COLUMNS: Final = (
    "time_ns",
    "observed_ns",
    "severity_number",
    "severity_text",
    "event_name",
    "body",
    "attributes",
    "dropped_attributes",
    "trace_id",
    "span_id",
    "flags",
    "resource_id",
    "scope_id",
)
_INSERT: Final = insert("logs", _COLUMNS)


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log record."""

    source: Source
    row: Row
    bytes: int

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Write the log record."""
        connection.execute(_INSERT, (*self.row, *self.source.ids(connection)))
        return ()


def log_record(data: ReadableLogRecord) -> Record:
    """Return a log record as the store keeps it: a chunk of run data, or a row of `logs`.

    Raises:
        MalformedError: for a chunk of run data that cannot be one.
    """
    record = data.log_record
    if record.event_name == semconv.RUN_DATA_EVENT:
        return run_data_chunk(record)
    origin = source(data.resource, data.instrumentation_scope)
    severity = record.severity_number
    row = (
        record.timestamp or None,
        record.observed_timestamp or record.timestamp or 0,
        None if severity is None else severity.value,
        text(record.severity_text),
        text(record.event_name),
        _body(record.body),
        to_json(record.attributes),
        data.dropped_attributes,
        format_trace_id(record.trace_id) if record.trace_id else None,
        format_span_id(record.span_id) if record.span_id else None,
        int(record.trace_flags or 0),
    )
    return LogRow(origin, row, origin.bytes + size_of(row))


def _body(value: Any) -> str | None:
    """Return a body as JSON; as text what JSON has no value for, such as an exception that was logged as it is."""
    if value is None:
        return None
    found = plain(value)
    return dump(clean(str(value)) if found is ABSENT else found)
