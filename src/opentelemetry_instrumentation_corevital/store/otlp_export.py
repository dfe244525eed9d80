"""What a store holds as OTLP messages, so that an import elsewhere gives the same rows.

What JSON cannot tell apart stays as it is stored: bytes in attributes are base64 text.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.message import Error, Message
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from .. import semconv
from .._internal.printable import one_line
from .otlp import any_value, key_values

CHUNK_BYTES: Final = 256 * 1024
"""Of run data in one log record: a file has no limit of 4 MiB a message."""
_NO_OTLP: Final = (Error, ValueError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError)
"""What comes of a row that another program wrote, with values that OTLP does not have."""
_MOST_ID: Final = 80
_SPAN: Final = (
    "SELECT trace_id, span_id, parent_span_id, trace_state, name, kind, start_ns, end_ns, status_code, status_message, "
    "attributes, dropped_attributes, dropped_events, dropped_links, resource_id, scope_id FROM spans "
)
_EVENTS: Final = "SELECT time_ns, name, attributes FROM span_events WHERE trace_id = ? AND span_id = ? ORDER BY seq"
_LINKS: Final = (
    "SELECT linked_trace_id, linked_span_id, trace_state, attributes FROM span_links "
    "WHERE trace_id = ? AND span_id = ? ORDER BY seq"
)
_LOGS: Final = (
    "SELECT time_ns, observed_ns, severity_number, severity_text, event_name, body, attributes, dropped_attributes, "
    "trace_id, span_id, flags, resource_id, scope_id FROM logs "
)
_POINTS: Final = (
    "SELECT attributes, start_ns, time_ns, value, count, sum, min, max, detail, exemplars, flags FROM metric_points "
    "WHERE metric_id = ?"
)


class OtlpExport:
    """Reads messages from a store.

    Args:
        connection: of the store.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.left_out: list[str] = []
        """What could not be written, a sentence each."""
        self._resources: dict[int, tuple[Resource, str]] = {}
        self._scopes: dict[int, tuple[InstrumentationScope, str]] = {}

    def traces(self, trace_ids: Sequence[str]) -> Iterator[Message]:
        """Yield the spans, log records and run data of traces, a message each."""
        for trace_id in dict.fromkeys(trace_ids):
            where, values = "WHERE trace_id = ?", (trace_id,)
            yield from self._spans(where, values)
            yield from self._logs(where, values)
            yield from self._run_data(where, values)

    def everything(self) -> Iterator[Message]:
        """Yield all that the store holds."""
        yield from self._spans("ORDER BY start_ns", ())
        yield from self._logs("ORDER BY id", ())
        yield from self._run_data("", ())
        yield from self._metrics()

    def _spans(self, where: str, values: tuple[Any, ...]) -> Iterator[Message]:
        for row in self._connection.execute(_SPAN + where, values):
            try:
                message = self._span(row)
            except _NO_OTLP as error:
                self._leave_out("span", row[:2], error)
            else:
                yield message

    def _leave_out(self, what: str, ids: Sequence[Any], error: Exception) -> None:
        named = one_line("/".join(str(each) for each in ids), _MOST_ID)
        self.left_out.append(f"{what} {named} is no telemetry that can be written ({type(error).__name__}); left out")

    def _span(self, row: tuple[Any, ...]) -> Message:
        *fields, resource_id, scope_id = row
        trace_id, span_id, parent, state, name, kind, start, end, code, status, attributes, *dropped = fields
        span = Span(
            trace_id=bytes.fromhex(trace_id),
            span_id=bytes.fromhex(span_id),
            parent_span_id=bytes.fromhex(parent or ""),
            trace_state=state,
            name=name,
            kind=kind,
            start_time_unix_nano=start,
            end_time_unix_nano=end,
            status=Status(code=code, message=status),
            attributes=key_values(json.loads(attributes)),
            dropped_attributes_count=dropped[0],
            dropped_events_count=dropped[1],
            dropped_links_count=dropped[2],
        )
        for at, what, more in self._connection.execute(_EVENTS, (trace_id, span_id)):
            span.events.add(time_unix_nano=at, name=what, attributes=key_values(json.loads(more)))
        for linked, linked_span, linked_state, more in self._connection.execute(_LINKS, (trace_id, span_id)):
            span.links.add(
                trace_id=bytes.fromhex(linked),
                span_id=bytes.fromhex(linked_span),
                trace_state=linked_state,
                attributes=key_values(json.loads(more)),
            )
        data = TracesData()
        group = data.resource_spans.add()
        self._describe(group, resource_id)
        scoped = group.scope_spans.add(spans=[span])
        self._name(scoped, scope_id)
        return data

    def _logs(self, where: str, values: tuple[Any, ...]) -> Iterator[Message]:
        for row in self._connection.execute(_LOGS + where, values):
            try:
                message = self._log(_record(row), *row[-2:])
            except _NO_OTLP as error:
                self._leave_out("log record of span", row[8:10], error)
            else:
                yield message

    def _log(self, record: LogRecord, resource_id: int | None, scope_id: int | None) -> Message:
        data = LogsData()
        group = data.resource_logs.add()
        self._describe(group, resource_id)
        scoped = group.scope_logs.add(log_records=[record])
        self._name(scoped, scope_id)
        return data

    def _run_data(self, where: str, values: tuple[Any, ...]) -> Iterator[Message]:
        keys = self._connection.execute(f"SELECT trace_id, span_id FROM run_data {where}", values).fetchall()
        for key in keys:
            same = "WHERE trace_id = ? AND span_id = ?"
            data, received = self._connection.execute(f"SELECT data, received_ns FROM run_data {same}", key).fetchone()
            origin = self._connection.execute(f"SELECT resource_id, scope_id FROM spans {same}", key).fetchone()
            try:
                for record in _chunks((key[0], key[1]), data, received):
                    yield self._log(record, *(origin or (None, None)))
            except _NO_OTLP as error:
                self._leave_out("run data of span", key, error)

    def _metrics(self) -> Iterator[Message]:
        columns = "id, resource_id, scope_id, name, unit, type, temporality, is_monotonic, description"
        for row in self._connection.execute(f"SELECT {columns} FROM metrics ORDER BY id").fetchall():
            try:
                message = self._metric(row)
            except _NO_OTLP as error:
                self._leave_out("metric", row[3:4], error)
            else:
                yield message

    def _metric(self, row: tuple[Any, ...]) -> Message:
        metric_id, resource_id, scope_id, name, unit, kind, temporality, monotonic, description = row
        data = MetricsData()
        group = data.resource_metrics.add()
        self._describe(group, resource_id)
        scoped = group.scope_metrics.add()
        self._name(scoped, scope_id)
        metric = scoped.metrics.add(name=name, unit=unit, description=description)
        target = getattr(metric, kind)
        if kind != "gauge":
            target.aggregation_temporality = temporality
        if kind == "sum":
            target.is_monotonic = bool(monotonic)
        for point in self._connection.execute(_POINTS, (metric_id,)):
            _add_point(target.data_points.add(), point, kind)
        return data

    def _describe(self, group: Any, resource_id: int | None) -> None:
        if resource_id is None:
            return
        if resource_id not in self._resources:
            attributes, url = self._connection.execute(
                "SELECT attributes, schema_url FROM resources WHERE id = ?", (resource_id,)
            ).fetchone()
            self._resources[resource_id] = (Resource(attributes=key_values(json.loads(attributes))), url)
        resource, group.schema_url = self._resources[resource_id]
        group.resource.CopyFrom(resource)

    def _name(self, scoped: Any, scope_id: int | None) -> None:
        if scope_id is None:
            return
        if scope_id not in self._scopes:
            name, version, attributes, url = self._connection.execute(
                "SELECT name, version, attributes, schema_url FROM scopes WHERE id = ?", (scope_id,)
            ).fetchone()
            scope = InstrumentationScope(name=name, version=version, attributes=key_values(json.loads(attributes)))
            self._scopes[scope_id] = (scope, url)
        scope, scoped.schema_url = self._scopes[scope_id]
        scoped.scope.CopyFrom(scope)


def _record(row: tuple[Any, ...]) -> LogRecord:
    at, seen, severity, severity_text, event, body, attributes, dropped, trace_id, span_id, flags, *_ = row
    record = LogRecord(
        time_unix_nano=at or 0,
        observed_time_unix_nano=seen,
        severity_number=SeverityNumber.ValueType(severity or 0),
        severity_text=severity_text or "",
        event_name=event or "",
        attributes=key_values(json.loads(attributes)),
        dropped_attributes_count=dropped,
        trace_id=bytes.fromhex(trace_id or ""),
        span_id=bytes.fromhex(span_id or ""),
        flags=flags,
    )
    if body is not None:
        record.body.CopyFrom(any_value(json.loads(body)))
    return record


def _chunks(key: tuple[str, str], data: bytes, at: int) -> Iterator[LogRecord]:
    count, digest = max(1, -(-len(data) // CHUNK_BYTES)), hashlib.sha256(data).hexdigest()
    for index in range(count):
        attributes = {
            semconv.RUN_DATA_CHUNK_INDEX: index,
            semconv.RUN_DATA_CHUNK_COUNT: count,
            semconv.RUN_DATA_SIZE: len(data),
            semconv.RUN_DATA_SHA256: digest,
        }
        yield LogRecord(
            observed_time_unix_nano=at,
            event_name=semconv.RUN_DATA_EVENT,
            body=any_value(data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]),
            attributes=key_values(attributes),
            trace_id=bytes.fromhex(key[0]),
            span_id=bytes.fromhex(key[1]),
        )


def _add_point(point: Any, row: tuple[Any, ...], kind: str) -> None:
    attributes, start, at, value, count, total, low, high, detail, exemplars, flags = row
    point.attributes.extend(key_values(json.loads(attributes)))
    point.start_time_unix_nano, point.time_unix_nano, point.flags = start, at, flags
    for each in json.loads(exemplars):
        value_kind = "as_int" if isinstance(each.get("value"), int) else "as_double"
        point.exemplars.add(
            **{value_kind: each.get("value", 0)},
            time_unix_nano=each.get("time_ns", 0),
            trace_id=bytes.fromhex(each.get("trace_id") or ""),
            span_id=bytes.fromhex(each.get("span_id") or ""),
            filtered_attributes=key_values(each.get("attributes") or {}),
        )
    if kind in ("gauge", "sum"):
        if value is not None:
            point.as_double = value
        return
    point.count = count
    for name, number in (("sum", total), ("min", low), ("max", high)):
        if number is not None:
            setattr(point, name, number)
    buckets = json.loads(detail)
    if kind == "histogram":
        point.explicit_bounds.extend(buckets["explicit_bounds"])
        point.bucket_counts.extend(buckets["bucket_counts"])
        return
    point.scale, point.zero_count = buckets["scale"], buckets["zero_count"]
    for side in ("positive", "negative"):
        found = getattr(point, side)
        found.offset = buckets[side]["offset"]
        found.bucket_counts.extend(buckets[side]["bucket_counts"])
