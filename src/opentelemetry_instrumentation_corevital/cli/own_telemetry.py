"""The providers of one command: the store, an OTLP endpoint if one is set, and a copy in memory to print from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Self
from urllib.parse import urlsplit

from opentelemetry.sdk._logs import LoggerProvider, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status

from .. import semconv
from .._internal.user_error import UserError
from ..catalogue import prompt_names
from ..doctor.redaction import without_secrets
from ..store import SQLiteLogExporter, SQLiteSpanExporter, StoreError

_CONTENT: Final = semconv.content_attributes()
_EVENT_CONTENT: Final = semconv.content_attributes("event attribute")

_HTTP_PORT: Final = 4318
_DEFAULT_URLS: Final = {"grpc": "http://localhost:4317", "http": "http://localhost:4318"}


@dataclass(frozen=True, slots=True)
class Otlp:
    """Whether and where to send by OTLP, beside what the environment says."""

    asked: bool = False
    """Whether to send even where no variable names an endpoint."""
    url: str | None = None
    """The endpoint; None: that of the environment, else the protocol's default on this machine."""

    @classmethod
    def of(cls, url: str | None, *, asked: bool) -> Self:
        """Return what `--otel-endpoint` and `--export-otel` ask for.

        Raises:
            UserError: if the endpoint is no URL.
        """
        if url is None:
            return cls(asked)
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            whole = False
        if not whole:
            raise UserError(
                f"--otel-endpoint {without_secrets(url)}: give a URL with its scheme, such as http://localhost:4317."
            )
        return cls(True, url.rstrip("/"))

    def endpoint(self, signal: str) -> str | None:
        """Return where a signal goes; None: nowhere."""
        default = _DEFAULT_URLS[self.protocol(signal)] if self.asked else None
        return self.url or _variable(signal, "ENDPOINT") or default

    def protocol(self, signal: str) -> str:
        """Return grpc or http."""
        named = _variable(signal, "PROTOCOL")
        if named is None and self.url is not None and urlsplit(self.url).port == _HTTP_PORT:
            return "http"
        return "grpc" if named in (None, "grpc") else "http"

    def exporter(self, signal: str, module: str, name: str) -> Any:
        """Return the exporter of a signal."""
        protocol = self.protocol(signal)
        found = getattr(import_module(f"opentelemetry.exporter.otlp.proto.{protocol}.{module}"), name)
        if self.url is None:
            return found()
        return found(endpoint=self.url if protocol == "grpc" else f"{self.url}/v1/{signal.lower()}")


def named_experiment(given: str | None) -> str | None:
    """Return what runs belong to: what a command line says, else what `OTEL_RESOURCE_ATTRIBUTES` does."""
    if given is not None:
        return given
    told = OTELResourceDetector().detect().attributes.get(prompt_names.EXPERIMENT)
    return told if isinstance(told, str) and told else None


class CommandTelemetry:
    """What a command that generates records with.

    Args:
        database: the store's file; None stores nothing.
        content_to_otlp: whether message text, if it is captured, may leave for an OTLP endpoint. `--store-content`
            means the store only.
        otlp: where else to send.
        experiment: what the runs belong to; None: what `OTEL_RESOURCE_ATTRIBUTES` says, if anything.
    """

    def __init__(
        self, database: str | None, *, content_to_otlp: bool, otlp: Otlp = Otlp(), experiment: str | None = None
    ) -> None:
        named = {} if experiment is None else {prompt_names.EXPERIMENT: experiment}
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "corevital", **named})
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
        traces, metrics, logs = (otlp.endpoint(signal) for signal in ("TRACES", "METRICS", "LOGS"))
        self.otlp_endpoint = traces
        self.otlp: OtlpSpans | None = None
        if traces:
            exporter = otlp.exporter("TRACES", "trace_exporter", "OTLPSpanExporter")
            self.otlp = OtlpSpans(exporter, content=content_to_otlp)
            # Few spans in a message: a gRPC receiver refuses one of over 4 MiB.
            self.tracer_provider.add_span_processor(BatchSpanProcessor(self.otlp, max_export_batch_size=64))
        if metrics:
            readers.append(
                PeriodicExportingMetricReader(otlp.exporter("METRICS", "metric_exporter", "OTLPMetricExporter"))
            )
        if logs:
            batching = BatchLogRecordProcessor if content_to_otlp else _WithoutRunData
            self.logger_provider.add_log_record_processor(
                # Few records in a message, for the same reason; a queue that takes the run data of a long run.
                batching(
                    otlp.exporter("LOGS", "_log_exporter", "OTLPLogExporter"),
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

    def otlp_outcome(self) -> list[str]:
        """Say where the spans went; nothing where nobody asked for it. True once closed."""
        if self.otlp is None:
            return []
        return [f"{'could not be sent' if self.otlp.failed else 'sent'} to {without_secrets(self.otlp_endpoint or '')}"]

    def storing_failed(self) -> StoreError | None:
        """Return why something could not be stored. True once closed."""
        return None if self.store is None else self.store.last_error

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
        events=[_event_without_content(event) for event in span.events if event.name != semconv.EXCEPTION_EVENT],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),  # its description is the exception's message
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _event_without_content(event: Event) -> Event:
    kept = {name: value for name, value in (event.attributes or {}).items() if name not in _EVENT_CONTENT}
    return Event(event.name, kept, event.timestamp)


def _variable(signal: str, name: str) -> str | None:
    general = os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}") or general or None
