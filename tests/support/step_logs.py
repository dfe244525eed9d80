"""Log events of steps, as the exporter of a process that generates hands them to a store, and what ends their call."""

import time
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import format_span_id, format_trace_id

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter
from tests.support.spans import run_attributes

WORDS = ("The", " history", " of", " the", " 宇宙", " is", " a", " vast", " tapestry", ".", "\n", "😀 And")


class Telemetry:
    """The providers of a process that stores in a file."""

    def __init__(self, path: str | Path, service: str = "serve") -> None:
        resource = Resource.create({"service.name": service})
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(SimpleLogRecordProcessor(SQLiteLogExporter(path)))
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._spans.add_span_processor(SimpleSpanProcessor(SQLiteSpanExporter(path)))
        self.logger = self._logs.get_logger("scope")
        self.tracer = self._spans.get_tracer("scope")

    def close(self) -> None:
        self._logs.shutdown()
        self._spans.shutdown()


class StepLogs:
    """A call that goes on: each `step` stores one, and `end` its span.

    Args:
        telemetry: where it goes.
        content: whether its steps have text.
        sequences: of the call.
        parent: the call's span is a child of this context's.
    """

    def __init__(self, telemetry: Telemetry, *, content: bool = True, sequences: int = 1, parent: Any = None) -> None:
        self._telemetry, self._content, self._sequences = telemetry, content, sequences
        self._start_ns = time.time_ns()
        self.span = telemetry.tracer.start_span("chat", context=parent, start_time=self._start_ns)
        self.context = trace.set_span_in_context(self.span)
        self.trace_id = format_trace_id(self.span.get_span_context().trace_id)
        self.span_id = format_span_id(self.span.get_span_context().span_id)
        self.steps = 0

    def step(self, count: int = 1, **said: Any) -> None:
        """Store the next steps of every sequence; `said` changes what their events have, by the name after the dot."""
        for step in range(self.steps, self.steps + count):
            for sequence in range(self._sequences):
                self.emit(step, sequence, **said)
        self.steps += count

    def emit(self, step: int, sequence: int = 0, **said: Any) -> None:
        attributes = {
            semconv.STEP_ENTROPY: 1.0 + step % 5,
            semconv.STEP_SURPRISAL: float(step % 10),
            semconv.STEP_RISK_SO_FAR: min(1.0, step / 50),
            semconv.STEP_INDEX: step,
            **({semconv.STEP_TOKEN_TEXT: WORDS[step % len(WORDS)]} if self._content else {}),
            **({semconv.SEQUENCE_INDEX: sequence} if self._sequences > 1 else {}),
            **{f"{semconv.STEP_EVENT}.{name}": value for name, value in said.items()},
        }
        self._telemetry.logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=self.context,
                severity_number=SeverityNumber.INFO,
                event_name=semconv.STEP_EVENT,
                attributes={name: value for name, value in attributes.items() if value is not None},
            )
        )

    def end(self, **changes: Any) -> None:
        """Store the spans of a call that is over."""
        if self._sequences == 1:
            self.span.set_attributes(run_attributes(**{semconv.GEN_AI_USAGE_OUTPUT_TOKENS: self.steps, **changes}))
        for index in range(self._sequences if self._sequences > 1 else 0):
            attributes = {
                semconv.STEPS_TOTAL: self.steps,
                semconv.SEQUENCE_INDEX: index,
                semconv.SEQUENCE_OUTPUT_TOKENS: self.steps,
                semconv.RISK_SCORE: index / 10,
                semconv.RISK_LEVEL: "low",
                **changes,
            }
            started = self._telemetry.tracer.start_span(
                "sequence", self.context, attributes=attributes, start_time=self._start_ns
            )
            started.end()
        self.span.end()
