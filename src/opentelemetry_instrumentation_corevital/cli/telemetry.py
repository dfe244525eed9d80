"""The providers of one command: the store, an OTLP endpoint if one is set, and a copy in memory to print from."""

import os
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .. import semconv
from ..store import SQLiteLogExporter, SQLiteSpanExporter

_CONTENT = {
    name for (kind, name), definition in semconv.DEFINITIONS.items() if kind == "attribute" and definition.content
}


class CommandTelemetry:
    """What `corevital run` records with.

    Args:
        database: the store's file; None stores nothing.
        content_to_otlp: whether message text, if it is captured, may leave for an OTLP endpoint. `--store-content`
            means the store only.
    """

    def __init__(self, database: str | None, *, content_to_otlp: bool) -> None:
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "corevital"})
        self.memory = InMemorySpanExporter()
        self.store = None if database is None else SQLiteSpanExporter(database, retain=False)
        self.logger_provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.memory))
        if self.store is not None:
            self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.store))
            self.logger_provider.add_log_record_processor(
                SimpleLogRecordProcessor(SQLiteLogExporter(database, retain=False))
            )
        readers: list[MetricReader] = []
        traces, metrics, logs = (_endpoint(signal) for signal in ("TRACES", "METRICS", "LOGS"))
        self.otlp_endpoint = traces
        self.otlp: OtlpSpans | None = None
        if traces:
            self.otlp = OtlpSpans(_exporter("TRACES", "trace_exporter", "OTLPSpanExporter"), content=content_to_otlp)
            # Few spans in a message: a gRPC receiver refuses one of over 4 MiB.
            self.tracer_provider.add_span_processor(BatchSpanProcessor(self.otlp, max_export_batch_size=64))
        if metrics:
            readers.append(PeriodicExportingMetricReader(_exporter("METRICS", "metric_exporter", "OTLPMetricExporter")))
        if logs:
            batching = BatchLogRecordProcessor if content_to_otlp else _WithoutRunData
            self.logger_provider.add_log_record_processor(
                # Few records in a message, for the same reason; a queue that takes the run data of a long run.
                batching(
                    _exporter("LOGS", "_log_exporter", "OTLPLogExporter"),
                    max_export_batch_size=256,
                    max_queue_size=4096,
                )
            )
        self.meter_provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)

    @property
    def providers(self) -> dict[str, Any]:
        """Return the keywords that `instrument()` takes."""
        return {
            "tracer_provider": self.tracer_provider,
            "meter_provider": self.meter_provider,
            "logger_provider": self.logger_provider,
        }

    def otlp_outcome(self) -> str | None:
        """Say where the spans went; None where nobody asked for it. True once closed."""
        if self.otlp is None:
            return None
        return f"{'could not be sent' if self.otlp.failed else 'sent'} to {self.otlp_endpoint}"

    def close(self) -> None:
        """Flush everything and shut down."""
        for provider in (self.tracer_provider, self.meter_provider, self.logger_provider):
            provider.shutdown()


class _WithoutRunData(BatchLogRecordProcessor):
    """Keeps run data to the store: with content stored they hold token ids, from which the text can be decoded."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if log_record.log_record.event_name != semconv.RUN_DATA_EVENT:
            super().on_emit(log_record)


class OtlpSpans(SpanExporter):
    """Hands spans to an OTLP exporter and remembers whether it took them.

    Args:
        exporter: the OTLP exporter.
        content: whether attributes that hold message text go along.
    """

    def __init__(self, exporter: SpanExporter, *, content: bool) -> None:
        self._exporter = exporter
        self._content = content
        self.failed = False
        """Whether spans could not be delivered."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans, or copies of them without content."""
        result = self._exporter.export(spans if self._content else [_without_content(span) for span in spans])
        self.failed |= result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)


def _without_content(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name not in _CONTENT},
        events=[event for event in span.events if event.name != semconv.EXCEPTION_EVENT],
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _endpoint(signal: str) -> str | None:
    general = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or general or None


def _exporter(signal: str, module: str, name: str) -> Any:
    from importlib import import_module

    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    transport = "grpc" if protocol == "grpc" else "http"
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}"), name)()
