"""A program with providers of its own, one of which drops its exporter where somebody adds a processor."""

import sys

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import opentelemetry_instrumentation_corevital as corevital
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.tiny_models import prompt, tiny_model


class Provider(TracerProvider):
    """As that of Phoenix's `register()`."""

    ready = False

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        assert not self.ready, "somebody adds a processor"
        super().add_span_processor(span_processor)


spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
logs = (getattr(log_export, "InMemoryLogRecordExporter", None) or log_export.InMemoryLogExporter)()
provider = Provider(resource=Resource({"service.name": "shop"}))
provider.add_span_processor(SimpleSpanProcessor(spans))
provider.ready = True
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
log_provider = LoggerProvider()
log_provider.add_log_record_processor(log_export.SimpleLogRecordProcessor(logs))
_logs.set_logger_provider(log_provider)

model, path = tiny_model(), sys.argv[1]
with trace.get_tracer("shop").start_as_current_span("request"), corevital.recording(path):
    model.generate(prompt(), max_new_tokens=4, eos_token_id=None)
model.generate(prompt(), max_new_tokens=9, eos_token_id=None)

run_span, request = spans.get_finished_spans()
assert run_span.parent.span_id == request.context.span_id
names = [each.log_record.event_name for each in logs.get_finished_logs()]
assert names == ["gen_ai.evaluation.result"]
measured = {
    metric.name: metric.data
    for resource in reader.get_metrics_data().resource_metrics
    for scope in resource.scope_metrics
    for metric in scope.metrics
}
assert sum(point.value for point in measured["corevital.runs"].data_points) == 1
with open_store(path) as store:
    (summary,) = store.runs()
    assert summary.span_id == f"{run_span.context.span_id:016x}"
    assert summary.service_name == "shop"
    assert store.load(summary).attributes["corevital.narrative"] == run_span.attributes["corevital.narrative"]
