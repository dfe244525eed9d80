"""Log records and metrics made by the SDK, as exporters get them."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from opentelemetry_instrumentation_corevital import semconv

TRACE, SPAN = 0xABC, 0xDEF
KEY = (f"{TRACE:032x}", f"{SPAN:016x}")


def in_span(trace_id: int = TRACE, span_id: int = SPAN) -> Context:
    context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def emitted(*records: LogRecord, service: str = "tests") -> list[ReadableLogRecord]:
    """Return log records as the SDK hands them to exporters."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("scope", "1.2")
    for record in records:
        logger.emit(record)
    return list(exporter.get_finished_logs())


def log(body: Any = "hello", *, context: Context | None = None, **more: Any) -> LogRecord:
    return LogRecord(
        timestamp=1_000,
        observed_timestamp=2_000,
        context=context or Context(),
        severity_number=SeverityNumber.WARN,
        severity_text="WARN",
        body=body,
        **more,
    )


def chunk_records(
    data: bytes,
    chunk_bytes: int,
    *,
    context: Context | None = None,
    body: Callable[[bytes], Any] = bytes,
    **changes: Any,
) -> list[LogRecord]:
    """Return run data as log records; `changes` replace attributes by the name of their constant in semconv."""
    count = math.ceil(len(data) / chunk_bytes)
    attributes = {
        semconv.RUN_DATA_CHUNK_COUNT: count,
        semconv.RUN_DATA_SIZE: len(data),
        semconv.RUN_DATA_SHA256: hashlib.sha256(data).hexdigest(),
        semconv.RISK_LEVEL: "low",
    }
    renamed = {getattr(semconv, name): value for name, value in changes.items()}
    return [
        log(
            body(data[index * chunk_bytes : (index + 1) * chunk_bytes]),
            context=context or in_span(),
            event_name=semconv.RUN_DATA_EVENT,
            attributes={
                name: value
                for name, value in {**attributes, semconv.RUN_DATA_CHUNK_INDEX: index, **renamed}.items()
                if value is not None
            },
        )
        for index in range(count)
    ]


class Metered:
    """A meter whose measurements an exporter gets, and writes, when `collect` is called."""

    def __init__(self, exporter: MetricExporter, *, views: Sequence[Any] = (), service: str = "tests") -> None:
        # Exported by hand only: an infinite interval starts no thread.
        self._reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        self._provider = MeterProvider(
            [self._reader],
            resource=Resource.create({"service.name": service}),
            views=views,
            shutdown_on_exit=False,
        )
        self.meter: Meter = self._provider.get_meter("scope", "1.2")

    def collect(self) -> None:
        assert self._reader.force_flush()

    def shutdown(self) -> None:
        self._provider.shutdown()


def gauge(value: Any, *, time_ns: int, name: str = "level", **attributes: Any) -> MetricsData:
    point = NumberDataPoint(attributes, None, time_ns, value)  # type: ignore[arg-type]
    metric = Metric(name, "", "1", Gauge([point]))
    scope = InstrumentationScope("scope")
    return MetricsData([ResourceMetrics(Resource({}), [ScopeMetrics(scope, [metric], "")], "")])
