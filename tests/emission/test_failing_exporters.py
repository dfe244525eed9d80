"""Exporters that raise, hang or find nobody, and queues that are full: generate() goes on, and drops are counted.

None of these tests takes times. Where an exporter hangs, it does so until generate() has returned: a call that
waited for it would never return.
"""

import logging
import threading
from typing import Any

import pytest
import torch
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tests.support.in_memory import instrumented
from tests.support.processes import free_port
from tests.support.tiny_models import prompt, tiny_model

RUNS = 12


class Hanging(SpanExporter):
    """Takes the first batch and does not come back before `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.taken = threading.Event()
        self.exported = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.exported += len(spans)
        self.taken.set()
        assert self.release.wait(60)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


class Raising(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        raise RuntimeError("this exporter always raises")

    def shutdown(self) -> None: ...


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture(autouse=True)
def every_warning() -> None:
    """The SDK does not tell the same thing twice in a row: let no earlier test have told it."""
    for told in logging.getLogger("opentelemetry.sdk._shared_internal").filters:
        vars(told).pop("last_log", None)


def generate(model: Any, runs: int = RUNS, **providers: Any) -> list[torch.Tensor]:
    with instrumented(**providers):
        return [model.generate(prompt(seed=run), max_new_tokens=4, do_sample=False) for run in range(runs)]


def plain(model: Any) -> list[torch.Tensor]:
    return [model.generate(prompt(seed=run), max_new_tokens=4, do_sample=False) for run in range(RUNS)]


def same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_an_exporter_that_hangs_holds_nobody_up_and_what_does_not_fit_is_counted(
    model: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")  # the SDK counts its drops where it is asked
    expected, exporter, reader = plain(model), Hanging(), InMemoryMetricReader()
    meters = MeterProvider([reader])
    provider = TracerProvider(meter_provider=meters)
    processor = BatchSpanProcessor(
        exporter, max_queue_size=4, max_export_batch_size=1, schedule_delay_millis=1, meter_provider=meters
    )
    provider.add_span_processor(processor)
    with instrumented(tracer_provider=provider):
        first = model.generate(prompt(seed=0), max_new_tokens=4, do_sample=False)
        assert exporter.taken.wait(10)
        rest = [model.generate(prompt(seed=run), max_new_tokens=4, do_sample=False) for run in range(1, RUNS)]
    assert exporter.exported == 1, "it still hangs"
    assert same([first, *rest], expected)
    dropped = RUNS - 1 - 4
    assert _processed(reader, "queue_full") == dropped
    warnings = [record for record in caplog.records if "Queue full" in record.message]
    assert {record.levelno for record in warnings} == {logging.WARNING}
    assert len({int(record.created // 20) for record in warnings}) == len(warnings) < dropped, "one in 20 seconds"
    exporter.release.set()
    provider.shutdown()
    assert exporter.exported == RUNS - dropped


def _processed(reader: InMemoryMetricReader, error: str) -> int:
    """Return how many spans the SDK says it has dropped for this reason."""
    data = reader.get_metrics_data()
    assert data is not None
    return sum(
        point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "otel.sdk.processor.span.processed"
        for point in metric.data.data_points
        if (point.attributes or {}).get("error.type") == error
    )


def test_an_exporter_that_raises_is_logged_and_forgotten(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Raising(), max_export_batch_size=1, schedule_delay_millis=1))
    expected = plain(model)
    assert same(generate(model, tracer_provider=provider), expected)
    provider.shutdown()
    assert [record for record in caplog.records if "Exception while exporting" in record.message]
    assert not [
        record for record in caplog.records if record.name.startswith("opentelemetry_instrumentation_corevital")
    ]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_endpoint_where_nobody_listens(model: Any, protocol: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    traces: Any = HttpExporter(endpoint=f"{url}/v1/traces", timeout=1)
    if protocol == "grpc":
        traces = GrpcExporter(endpoint=url, insecure=True, timeout=1)
    tracing, logging_ = TracerProvider(), LoggerProvider()
    tracing.add_span_processor(BatchSpanProcessor(traces, schedule_delay_millis=1))
    logs = OTLPLogExporter(endpoint=f"{url}/v1/logs", timeout=1)
    logging_.add_log_record_processor(BatchLogRecordProcessor(logs, schedule_delay_millis=1))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{url}/v1/metrics", timeout=1))
    meters = MeterProvider([reader])
    expected = plain(model)
    found = generate(model, tracer_provider=tracing, logger_provider=logging_, meter_provider=meters, capture="full")
    assert same(found, expected)
    for provider in (tracing, logging_, meters):
        provider.shutdown()
