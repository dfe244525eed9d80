"""What a call's spans and log events have of its runs, without a model."""

from types import SimpleNamespace
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital._internal.baseline_use import BaselineUse
from opentelemetry_instrumentation_corevital.assessment.run_attributes import start_attributes
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.emission.instruments import Instruments
from opentelemetry_instrumentation_corevital.emission.judgements import (
    BlameProcessor,
    HealthProcessor,
    default_judgements,
    in_order,
)
from opentelemetry_instrumentation_corevital.instrumentation.call_context import PromptHint
from opentelemetry_instrumentation_corevital.instrumentation.prompt_and_response import PromptAndResponse
from opentelemetry_instrumentation_corevital.instrumentation.reporting import CallReport

Attributes = dict[str, Any]


class _Words:
    """A tokenizer."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return " ".join("word"[: 1 + token % 4] for token in tokens)


class _Baseline:
    """Says what a run with everything was judged with, which no setting of these runs has."""

    role = "baseline"

    def on_run_ending(self, _span: Any, run: Run) -> None:
        run.baseline = BaselineUse("calibrated", 200, 40_000)


def reported(
    runs: list[Run], limit: int = 128, usual: Thresholds = DEFAULT
) -> tuple[list[Any], list[tuple[str, Attributes]]]:
    """Return the spans, the call's last, and the log events that a call with these runs has."""
    settings = load_settings({"capture": "full", "profile": "off", "capture_message_content": "span_and_event"})
    spans, tracers = InMemorySpanExporter(), TracerProvider(span_limits=SpanLimits(max_span_attributes=limit))
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    logs, loggers = InMemoryLogRecordExporter(), LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    tracer = tracers.get_tracer(semconv.SCOPE_NAME)
    span = tracer.start_span("call", attributes=start_attributes(runs[0].model.name, chat=True))
    hint = PromptHint("What is it?", chat=True, tokenizer=_Words(), seed=7)
    CallReport(
        settings=settings,
        tracer=tracer,
        instruments=Instruments(NoOpMeter("none")),
        logger=loggers.get_logger(semconv.SCOPE_NAME),
        judgements=[
            *in_order(default_judgements(settings), [HealthProcessor(usual), BlameProcessor(usual)]),
            _Baseline(),
        ],
        span=span,
        context=set_span_in_context(span, Context()),
        model=runs[0].model,
        prompt_and_response=PromptAndResponse(settings, hint, SimpleNamespace(arguments={})),  # type: ignore[arg-type]
    ).write(runs, None)
    span.end()
    records = [each.log_record for each in logs.get_finished_logs()]
    return list(spans.get_finished_spans()), [(str(each.event_name), dict(each.attributes or {})) for each in records]
