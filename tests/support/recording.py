"""Runs that are sent to a receiver and kept in memory beside it."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor


@dataclass
class Recorded:
    """What was sent; complete after the block."""

    _spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    _logs: InMemoryLogRecordExporter = field(default_factory=InMemoryLogRecordExporter)
    metrics: list[Metric] = field(default_factory=list)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._spans.get_finished_spans()

    @property
    def logs(self) -> list[Any]:
        return [data.log_record for data in self._logs.get_finished_logs()]


@contextlib.contextmanager
def recording(exporter: Any, service: str, logs: Any = None, metrics: Any = None, **options: Any) -> Iterator[Recorded]:
    """Instrument the process for the block, in full; all that is recorded has been exported after it."""
    resource, recorded = Resource.create({"service.name": service}), Recorded()
    provider, logger_provider = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(recorded._spans))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    logger_provider.add_log_record_processor(SimpleLogRecordProcessor(recorded._logs))
    if logs is not None:
        logger_provider.add_log_record_processor(BatchLogRecordProcessor(logs))
    memory = InMemoryMetricReader()
    readers = [memory, *([PeriodicExportingMetricReader(metrics)] if metrics else [])]
    meter_provider = MeterProvider(readers, resource=resource)
    providers = {"tracer_provider": provider, "logger_provider": logger_provider, "meter_provider": meter_provider}
    instrumentor = CoreVitalInstrumentor()
    instrumentor.instrument(**providers, capture="full", **options)
    try:
        yield recorded
        found = memory.get_metrics_data()
        assert found is not None
        recorded.metrics = [
            metric for each in found.resource_metrics for scope in each.scope_metrics for metric in scope.metrics
        ]
        meter_provider.force_flush()  # what is observed, as the layers are, ends with the instrumentation
    finally:
        instrumentor.uninstrument()
        for closing in (provider, logger_provider, meter_provider):
            closing.shutdown()
