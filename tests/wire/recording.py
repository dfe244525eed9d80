"""Runs that are sent to a receiver and kept in memory beside it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor


@contextlib.contextmanager
def recording(
    exporter: Any, service: str, logs: Any = None, metrics: Any = None, **options: Any
) -> Iterator[InMemorySpanExporter]:
    """Instrument the process for the block, in full; all that is recorded has been exported after it."""
    resource = Resource.create({"service.name": service})
    memory, provider = InMemorySpanExporter(), TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    logger_provider = LoggerProvider(resource=resource)
    if logs is not None:
        logger_provider.add_log_record_processor(BatchLogRecordProcessor(logs))
    meter_provider = MeterProvider([PeriodicExportingMetricReader(metrics)] if metrics else [], resource=resource)
    providers = {"tracer_provider": provider, "logger_provider": logger_provider, "meter_provider": meter_provider}
    instrumentor = CoreVitalInstrumentor()
    instrumentor.instrument(**providers, capture="full", **options)
    try:
        yield memory
    finally:
        instrumentor.uninstrument()
        for closing in (provider, logger_provider, meter_provider):
            closing.shutdown()
