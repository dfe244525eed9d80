"""The three signals of OTLP: their messages, where they are sent, and how their items become records."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ..store.common_rows import Source
from ..store.otlp import Read, read_log, read_metric, read_span


@dataclass(frozen=True, slots=True)
class OtlpSignal:
    """One signal."""

    name: str
    path: str
    """Of OTLP over HTTP."""
    service: str
    """Of OTLP over gRPC."""
    request: Callable[[], Any]
    response: Callable[..., Any]
    item: Any
    """The class of a span, a log record, a metric."""
    read: Callable[[Any, Source], Read]
    rejected: str
    """The field of a partial success that counts what was rejected."""

    def answer(self, rejected: int, reason: str) -> Any:
        """Return the response: a partial success where something was rejected or, with a count of 0, is left out."""
        made = self.response()
        if rejected or reason:
            setattr(made.partial_success, self.rejected, rejected)
            made.partial_success.error_message = reason
        return made


def _service(module: Any, name: str) -> str:
    return str(module.DESCRIPTOR.services_by_name[name].full_name)


SIGNALS: Final = (
    OtlpSignal(
        "traces",
        "/v1/traces",
        _service(trace_service, "TraceService"),
        trace_service.ExportTraceServiceRequest,
        trace_service.ExportTraceServiceResponse,
        Span,
        read_span,
        "rejected_spans",
    ),
    OtlpSignal(
        "logs",
        "/v1/logs",
        _service(logs_service, "LogsService"),
        logs_service.ExportLogsServiceRequest,
        logs_service.ExportLogsServiceResponse,
        LogRecord,
        read_log,
        "rejected_log_records",
    ),
    OtlpSignal(
        "metrics",
        "/v1/metrics",
        _service(metrics_service, "MetricsService"),
        metrics_service.ExportMetricsServiceRequest,
        metrics_service.ExportMetricsServiceResponse,
        Metric,
        read_metric,
        "rejected_data_points",
    ),
)
