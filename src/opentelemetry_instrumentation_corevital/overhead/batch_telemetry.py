"""The telemetry of the instrumented arms: batch processors and OTLP/HTTP to a local sink."""

import os
from collections.abc import Sequence
from typing import Any, cast

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from .counting_sink import CountingSink
from .overhead_error import OverheadError


class CountingExporter:
    """An exporter that counts, keeps the last batch, and hands on to a real one where there is one."""

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner
        self.count = 0
        self.failures = 0
        self.last: Sequence[Any] = ()

    def export(self, batch: Sequence[Any]) -> Any:
        """Count a batch and send it."""
        self.count += len(batch)
        self.last = batch
        if self.inner is None:
            return None
        result = self.inner.export(batch)
        self.failures += result.name != "SUCCESS"
        return result

    def force_flush(self, _timeout_millis: int = 30000) -> bool:
        """Do nothing: every export is sent at once."""
        return True

    def shutdown(self) -> None:
        """End the real exporter; two providers share it, and each asks for that."""
        inner, self.inner = self.inner, None
        if inner is not None:
            inner.shutdown()


class BatchTelemetry:
    """Providers with everything up to the network."""

    def __init__(self) -> None:
        self.sink, self.why_none = _sink()
        spans, logs, reader = (None, None, InMemoryMetricReader()) if self.sink is None else _exporters(self.sink.url)
        self.spans, self.logs = CountingExporter(spans), CountingExporter(logs)
        self.tracers = {True: TracerProvider(sampler=ALWAYS_ON), False: TracerProvider(sampler=ALWAYS_OFF)}
        for provider in self.tracers.values():
            provider.add_span_processor(BatchSpanProcessor(cast("SpanExporter", self.spans)))
        # Without a reader the SDK drops measurements instead of aggregating them.
        self.meter: Any = MeterProvider([reader])
        self.logger = LoggerProvider()
        self.logger.add_log_record_processor(BatchLogRecordProcessor(cast("LogRecordExporter", self.logs)))

    def providers(self, *, sampled: bool) -> dict[str, Any]:
        """Return what `instrument()` takes."""
        return {"tracer_provider": self.tracers[sampled], "meter_provider": self.meter, "logger_provider": self.logger}

    def flush(self, *, metrics: bool = False) -> tuple[int, int]:
        """Empty the queues; return how many spans and log records have been exported so far."""
        for provider in (*self.tracers.values(), self.logger, *((self.meter,) if metrics else ())):
            provider.force_flush()
        return self.spans.count, self.logs.count

    def shutdown(self) -> dict[str, Any]:
        """End the processors' threads and the sink; return what was sent.

        Raises:
            OverheadError: exports failed, so that something else was measured than what the report says.
        """
        for provider in (*self.tracers.values(), self.logger, self.meter):
            provider.shutdown()
        if self.sink is None:
            return {"exporter": f"in memory, because OTLP/HTTP cannot be imported ({self.why_none})"}
        received = self.sink.counts()
        self.sink.close()
        if self.spans.failures or self.logs.failures or (self.spans.count and "/v1/traces" not in received):
            raise OverheadError(f"exports to the local sink failed; it received {received}")
        return {"exporter": "OTLP/HTTP (protobuf) to a local process", "received": received}


def _sink() -> tuple[CountingSink | None, str]:
    """Start a sink if there is something that can send to it, else say why not."""
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401
    except ImportError as error:
        return None, str(error)
    return CountingSink(), ""


def _exporters(url: str) -> tuple[Any, Any, Any]:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    os.environ["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1")))  # the sink is here
    metrics = OTLPMetricExporter(endpoint=f"{url}/v1/metrics")
    return (
        OTLPSpanExporter(endpoint=f"{url}/v1/traces"),
        OTLPLogExporter(endpoint=f"{url}/v1/logs"),
        PeriodicExportingMetricReader(metrics),
    )
