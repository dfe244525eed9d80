"""OTLP messages as records of the store: what a Collector or any SDK sends."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from .._internal.values import ABSENT, fits_int64, plain
from .common_rows import Lost, Record, Source, dump, number, source_of, to_json
from .log_rows import LogFields, record_of
from .metric_rows import MetricFields, rows_of_metric
from .run_data_rows import MalformedError
from .span_rows import SpanFields, rows_of

Read = Record | Lost
"""What was read: a record, or why there is none."""

_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_MOST_INT64: Final = 2**63 - 1  # OTLP's times and counts are unsigned, SQLite's integers are not
_BEYOND: Final = "a time or a count in it is beyond 2^63 - 1"
_POINTS: Final = ("gauge", "sum", "histogram", "exponential_histogram")


def read_spans(groups: Iterable[ResourceSpans]) -> Iterator[Read]:
    """Yield the spans of a request or a file."""
    for group in groups:
        for scoped in group.scope_spans:
            origin = read_source(group.resource, group.schema_url, scoped.scope, scoped.schema_url)
            for span in scoped.spans:
                yield read_span(span, origin)


def read_logs(groups: Iterable[ResourceLogs]) -> Iterator[Read]:
    """Yield the log records of a request or a file; a chunk of run data is a record of its own kind."""
    for group in groups:
        for scoped in group.scope_logs:
            origin = read_source(group.resource, group.schema_url, scoped.scope, scoped.schema_url)
            for record in scoped.log_records:
                yield read_log(record, origin)


def read_metrics(groups: Iterable[ResourceMetrics]) -> Iterator[Read]:
    """Yield the metrics of a request or a file."""
    for group in groups:
        for scoped in group.scope_metrics:
            origin = read_source(group.resource, group.schema_url, scoped.scope, scoped.schema_url)
            for metric in scoped.metrics:
                yield read_metric(metric, origin)


def read_source(resource: Resource, resource_url: str, scope: InstrumentationScope, scope_url: str) -> Source:
    """Return where the telemetry of a scope comes from."""
    return source_of(
        python_values(resource.attributes),
        resource_url,
        name=scope.name,
        version=scope.version,
        scope_attributes=python_values(scope.attributes),
        scope_url=scope_url,
    )


def read_span(span: Span, origin: Source) -> Read:
    """Return a span as a record."""
    if not _is_id(span.trace_id, _TRACE_BYTES) or not _is_id(span.span_id, _SPAN_BYTES):
        return Lost(1, "a span was left out: its ids are not 16 and 8 bytes.")
    times = (span.start_time_unix_nano, span.end_time_unix_nano, *(event.time_unix_nano for event in span.events))
    if max(times) > _MOST_INT64:
        return Lost(1, f"a span was left out: {_BEYOND}.")
    return rows_of(
        SpanFields(
            span.trace_id.hex(),
            span.span_id.hex(),
            origin,
            span.name,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            python_values(span.attributes),
            parent_span_id=span.parent_span_id.hex() or None,
            trace_state=span.trace_state,
            kind=span.kind or Span.SPAN_KIND_INTERNAL,
            status_code=span.status.code,
            status_message=span.status.message,
            events=[(event.time_unix_nano, event.name, python_values(event.attributes)) for event in span.events],
            links=[
                (link.trace_id.hex(), link.span_id.hex(), link.trace_state, python_values(link.attributes))
                for link in span.links
            ],
            dropped=(span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count),
        )
    )


def read_log(record: LogRecord, origin: Source) -> Read:
    """Return a log record as a record of the store: a row of `logs`, or a chunk of run data."""
    if max(record.time_unix_nano, record.observed_time_unix_nano) > _MOST_INT64:
        return Lost(1, f"a log record was left out: {_BEYOND}.")
    try:
        return record_of(
            LogFields(
                origin,
                record.observed_time_unix_nano or record.time_unix_nano,
                time_ns=record.time_unix_nano or None,
                severity_number=record.severity_number or None,
                severity_text=record.severity_text or None,
                event_name=record.event_name or None,
                body=python_value(record.body),
                attributes=python_values(record.attributes),
                dropped_attributes=record.dropped_attributes_count,
                trace_id=record.trace_id.hex() if _is_id(record.trace_id, _TRACE_BYTES) else None,
                span_id=record.span_id.hex() if _is_id(record.span_id, _SPAN_BYTES) else None,
                flags=record.flags,
            )
        )
    except MalformedError as error:
        return Lost(1, str(error))


def read_metric(metric: Metric, origin: Source) -> Read:
    """Return a metric with its points as a record."""
    kind = metric.WhichOneof("data")
    if kind not in _POINTS:
        return Lost(1, f"a metric was left out: its type is {kind or 'not given'}.")
    data = getattr(metric, kind)
    numbers = (_largest(point) for point in data.data_points)
    if max(numbers, default=0) > _MOST_INT64:
        return Lost(1, f"a metric was left out: {_BEYOND}.")
    points = tuple(_point(point, kind) for point in data.data_points)
    return rows_of_metric(
        MetricFields(
            origin,
            metric.name,
            metric.unit,
            metric.description,
            kind,
            getattr(data, "aggregation_temporality", 0),
            int(getattr(data, "is_monotonic", False)),
        ),
        points,
    )


def _point(point: Any, kind: str) -> tuple[Any, ...]:
    """Return a row of `metric_points` without the metric."""
    start_ns = 0 if kind == "gauge" else point.start_time_unix_nano
    exemplars = [
        plain(
            {
                "time_ns": each.time_unix_nano,
                "value": _number(each),
                "trace_id": each.trace_id.hex() or None,
                "span_id": each.span_id.hex() or None,
                "attributes": python_values(each.filtered_attributes),
            }
        )
        for each in point.exemplars
    ]
    attributes = to_json(dict(sorted(python_values(point.attributes).items())))
    return (attributes, start_ns, point.time_unix_nano, *_values(point, kind), dump(exemplars), point.flags)


def _values(point: Any, kind: str) -> tuple[Any, ...]:
    """Return value, count, sum, min, max, detail."""
    if kind in ("gauge", "sum"):
        return (number(_number(point)), None, None, None, None, None)
    detail: dict[str, Any]
    if kind == "histogram":
        detail = {"explicit_bounds": list(point.explicit_bounds), "bucket_counts": list(point.bucket_counts)}
    else:
        detail = {
            "scale": point.scale,
            "zero_count": point.zero_count,
            "positive": {"offset": point.positive.offset, "bucket_counts": list(point.positive.bucket_counts)},
            "negative": {"offset": point.negative.offset, "bucket_counts": list(point.negative.bucket_counts)},
        }
    optional = [number(getattr(point, name)) if point.HasField(name) else None for name in ("sum", "min", "max")]
    return (None, point.count, *optional, to_json(detail))


def _largest(point: Any) -> int:
    counts = [getattr(point, name, 0) for name in ("start_time_unix_nano", "time_unix_nano", "count", "zero_count")]
    sides = (point, getattr(point, "positive", None), getattr(point, "negative", None))
    return int(max(*counts, *(count for side in sides for count in getattr(side, "bucket_counts", ()))))


def _number(point: Any) -> float | int | None:
    kind = point.WhichOneof("value")
    return None if kind is None else getattr(point, kind)


def _is_id(value: bytes, size: int) -> bool:
    return len(value) == size and any(value)


def python_values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as plain Python values."""
    return {each.key: python_value(each.value) for each in attributes}


def python_value(value: AnyValue) -> Any:
    """Return a value as a plain Python one; None where there is none."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [python_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return python_values(value.kvlist_value.values)
    return getattr(value, kind)


def any_value(value: Any) -> AnyValue:
    """Return a plain Python value as one of OTLP."""
    made = AnyValue()
    if isinstance(value, Mapping):
        made.kvlist_value.values.extend(key_values(value))
    elif isinstance(value, list | tuple):
        made.array_value.SetInParent()  # there, also where it is empty
        made.array_value.values.extend(any_value(each) for each in value)
    elif value is not None:
        kind = next((name for type_, name in _SCALARS if isinstance(value, type_)), "string_value")
        if kind == "int_value" and not fits_int64(value):
            return made  # another number in its place would be wrong
        setattr(made, kind, value if kind != "string_value" else str(value))
    return made


_SCALARS: Final = ((bool, "bool_value"), (int, "int_value"), (float, "double_value"), (bytes, "bytes_value"))


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Return attributes as those of OTLP; what it has no value for is left out."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items() if _has_value(value)]


def _has_value(value: Any) -> bool:
    return value is None or plain(value) is not ABSENT
