"""Log records as rows of the store."""

import hashlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.trace import format_span_id, format_trace_id

from .. import semconv
from .._internal.values import ABSENT, clean, plain
from .common_rows import Lost, Record, Row, Source, dump, insert, size_of, source, text, to_json
from .run_data_rows import run_data_chunk

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
_INSERT: Final = insert("logs", ("digest", "ingested_ns", *_COLUMNS), "INSERT OR IGNORE")


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log record."""

    source: Source
    row: Row
    bytes: int

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Write the log record, unless it is there already."""
        digest = hashlib.blake2b(repr((self.source.digests, self.row)).encode(), digest_size=16).digest()
        connection.execute(_INSERT, (digest, time.time_ns(), *self.row, *self.source.ids(connection)))
        return ()


@dataclass(frozen=True, slots=True)
class LogFields:
    """A log record, wherever it comes from; body and attributes are plain Python values."""

    source: Source
    observed_ns: int
    time_ns: int | None = None
    severity_number: int | None = None
    severity_text: str | None = None
    event_name: str | None = None
    body: Any = None
    attributes: Mapping[str, Any] | None = None
    dropped_attributes: int = 0
    trace_id: str | None = None
    span_id: str | None = None
    flags: int = 0


def log_record(data: ReadableLogRecord) -> Record:
    """Return a log record as the store keeps it: a chunk of run data, or a row of `logs`.

    Raises:
        MalformedError: for a chunk of run data that cannot be one.
    """
    record = data.log_record
    severity = record.severity_number
    return record_of(
        LogFields(
            source(data.resource, data.instrumentation_scope),
            record.observed_timestamp or record.timestamp or 0,
            time_ns=record.timestamp or None,
            severity_number=None if severity is None else severity.value,
            severity_text=record.severity_text,
            event_name=record.event_name,
            body=record.body,
            attributes=record.attributes,
            dropped_attributes=data.dropped_attributes,
            trace_id=format_trace_id(record.trace_id) if record.trace_id else None,
            span_id=format_span_id(record.span_id) if record.span_id else None,
            flags=int(record.trace_flags or 0),
        )
    )


def record_of(log: LogFields) -> Record:
    """Return a log record as the store keeps it.

    Raises:
        MalformedError: for a chunk of run data that cannot be one.
    """
    if log.event_name == semconv.RUN_DATA_EVENT:
        return run_data_chunk(log.trace_id, log.span_id, log.attributes or {}, log.body)
    row = (
        log.time_ns,
        log.observed_ns,
        log.severity_number,
        text(log.severity_text),
        text(log.event_name),
        _body(log.body),
        to_json(log.attributes),
        log.dropped_attributes,
        log.trace_id,
        log.span_id,
        log.flags,
    )
    return LogRow(log.source, row, log.source.bytes + size_of(row))


def _body(value: Any) -> str | None:
    """Return a body as JSON; as text what JSON has no value for, such as an exception that was logged as it is."""
    if value is None:
        return None
    found = plain(value)
    return dump(clean(str(value)) if found is ABSENT else found)
