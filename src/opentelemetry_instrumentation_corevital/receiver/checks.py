"""What a span, a log record or a metric may hold."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .limits import Limits


def problem(item: Span | LogRecord | Metric, limits: Limits) -> str | None:
    """Return why an item is beyond the limits, None if it is not."""
    if isinstance(item, Span):
        bearers: Sequence[Any] = (item, *item.events, *item.links)
        children = max(len(item.events), len(item.links))
    elif isinstance(item, Metric):
        bearers = points_of(item)
        children = len(bearers)
    else:
        bearers, children = (item,), 0
    if children > limits.children:
        return f"it has more than {limits.children} events, links or data points"
    if any(len(bearer.attributes) > limits.attributes for bearer in bearers):
        return f"it has more than {limits.attributes} attributes"
    return None


def points_of(metric: Metric) -> Sequence[Any]:
    """Return a metric's data points."""
    kind = metric.WhichOneof("data")
    points: Sequence[Any] = getattr(metric, kind).data_points if kind else ()
    return points


def weight(item: Span | LogRecord | Metric) -> int:
    """Return how many a partial success counts an item as: a metric as its data points."""
    return len(points_of(item)) if isinstance(item, Metric) else 1
