"""Metrics as rows of the store. Which points are kept says `schema.sql`."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import format_span_id, format_trace_id

from .._internal.values import clean, plain
from .common_rows import Lost, Row, Source, dump, id_of, insert, integer, number, size_of, source, to_json

_METRIC_KEY: Final = ("resource_id", "scope_id", "name", "unit", "type", "temporality", "is_monotonic")
_METRIC_COLUMNS: Final = (*_METRIC_KEY, "description")
_POINT_KEY: Final = ("metric_id", "attributes", "start_ns")
_POINT_VALUES: Final = ("time_ns", "value", "count", "sum", "min", "max", "detail", "exemplars", "flags", "ingested_ns")
_UPSERT_POINT: Final = (
    f"{insert('metric_points', (*_POINT_KEY, *_POINT_VALUES))} ON CONFLICT ({', '.join(_POINT_KEY)}) DO UPDATE SET "
    f"{', '.join(f'{column} = excluded.{column}' for column in _POINT_VALUES)} "
    "WHERE excluded.time_ns >= metric_points.time_ns"
)

Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint


@dataclass(frozen=True, slots=True)
class ScopedMetric:
    """A metric, and where it comes from."""

    resource: Resource
    scope: InstrumentationScope
    metric: Metric


@dataclass(frozen=True, slots=True)
class MetricFields:
    """What a metric is, wherever it comes from; numbers as in OTLP."""

    source: Source
    name: str
    unit: str
    description: str
    kind: str
    temporality: int
    is_monotonic: int


@dataclass(frozen=True, slots=True)
class MetricRows:
    """One metric with its points."""

    source: Source
    metric: Row
    points: tuple[Row, ...]
    bytes: int

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Write the points that are newer than those of their series."""
        row = (*self.source.ids(connection), *self.metric)
        metric_id = id_of(connection, "metrics", _METRIC_COLUMNS, row, key=len(_METRIC_KEY))
        now = time.time_ns()
        connection.executemany(_UPSERT_POINT, ((metric_id, *point, now) for point in self.points))
        return ()


def scoped_metrics(data: MetricsData) -> Iterator[ScopedMetric]:
    """Yield the metrics of an export."""
    for of_resource in data.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                yield ScopedMetric(of_resource.resource, of_scope.scope, metric)


def metric_rows(scoped: ScopedMetric) -> MetricRows:
    """Return a metric's rows.

    Raises:
        TypeError: for a type that the SDK does not make.
    """
    metric = scoped.metric
    kind, temporality, is_monotonic = _kind(metric.data)
    points = tuple(_point(point, has_start=kind != "gauge") for point in metric.data.data_points)
    origin = source(scoped.resource, scoped.scope)
    unit, description = metric.unit or "", metric.description or ""
    return rows_of_metric(MetricFields(origin, metric.name, unit, description, kind, temporality, is_monotonic), points)


def rows_of_metric(metric: MetricFields, points: tuple[Row, ...]) -> MetricRows:
    """Return a metric's rows; each point is one of `metric_points` without its metric."""
    names = (clean(metric.name), clean(metric.unit), metric.kind, metric.temporality, metric.is_monotonic)
    row = (*names, clean(metric.description))
    return MetricRows(metric.source, row, points, metric.source.bytes + size_of(row, *points))


def _kind(data: Any) -> tuple[str, int, int]:
    """Return type, temporality as in OTLP, and whether it only rises."""
    if isinstance(data, Gauge):
        return "gauge", 0, 0
    if isinstance(data, Sum):
        return "sum", data.aggregation_temporality.value, int(data.is_monotonic)
    if isinstance(data, Histogram):
        return "histogram", data.aggregation_temporality.value, 0
    if isinstance(data, ExponentialHistogram):
        return "exponential_histogram", data.aggregation_temporality.value, 0
    raise TypeError(f"unknown kind of metric: {type(data).__name__}")


def _point(point: Point, *, has_start: bool) -> Row:
    start_ns = (integer(point.start_time_unix_nano) or 0) if has_start else 0
    return (
        to_json(dict(sorted((point.attributes or {}).items()))),
        start_ns,
        point.time_unix_nano,
        *_values(point),
        dump([_exemplar(exemplar) for exemplar in point.exemplars]),
        getattr(point, "flags", 0),
    )


def _values(point: Point) -> Row:
    """Return value, count, sum, min, max, detail."""
    if isinstance(point, NumberDataPoint):
        return (number(point.value), None, None, None, None, None)
    summary = (None, point.count, number(point.sum), number(point.min), number(point.max))
    detail: dict[str, Any]
    if isinstance(point, HistogramDataPoint):
        bounds = [float(bound) for bound in point.explicit_bounds]  # as OTLP has them
        detail = {"explicit_bounds": bounds, "bucket_counts": point.bucket_counts}
    else:
        detail = {
            "scale": point.scale,
            "zero_count": point.zero_count,
            "positive": {"offset": point.positive.offset, "bucket_counts": point.positive.bucket_counts},
            "negative": {"offset": point.negative.offset, "bucket_counts": point.negative.bucket_counts},
        }
    return (*summary, to_json(detail))


def _exemplar(exemplar: Any) -> Any:
    return plain(
        {
            "time_ns": exemplar.time_unix_nano,
            "value": exemplar.value,
            "trace_id": format_trace_id(exemplar.trace_id) if exemplar.trace_id else None,
            "span_id": format_span_id(exemplar.span_id) if exemplar.span_id else None,
            "attributes": exemplar.filtered_attributes or {},
        }
    )
