"""What a span, a log record or a metric may hold."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .sender_limits import Limits


def problem(item: Span | LogRecord | Metric, limits: Limits) -> str | None:
    """Return why an item is beyond the limits, None if it is not."""
    families = _families(item)
    if any(len(family) > limits.children for family in families):  # before any of them becomes an object of Python
        return f"it has more than {limits.children} events, links or data points"
    own = () if isinstance(item, Metric) else (item,)
    if any(len(bearer.attributes) > limits.attributes for bearer in chain(own, *families)):
        return f"it has more than {limits.attributes} attributes"
    return None


def _families(item: Span | LogRecord | Metric) -> tuple[Sequence[Any], ...]:
    if isinstance(item, Span):
        return item.events, item.links
    return (points_of(item),) if isinstance(item, Metric) else ()


def points_of(metric: Metric) -> Sequence[Any]:
    """Return a metric's data points."""
    kind = metric.WhichOneof("data")
    points: Sequence[Any] = getattr(metric, kind).data_points if kind else ()
    return points


def weight(item: Span | LogRecord | Metric) -> int:
    """Return how many a partial success counts an item as: a metric as its data points."""
    return len(points_of(item)) if isinstance(item, Metric) else 1
