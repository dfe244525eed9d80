"""Finished spans made by the SDK, as exporters get them, and a look at what was stored."""

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue import prompt_names


def run_attributes(**changes: Any) -> dict[str, Any]:
    return {
        semconv.GEN_AI_OPERATION_NAME: "text_completion",
        semconv.GEN_AI_REQUEST_MODEL: "org/model",
        semconv.DECODING_STRATEGY: "greedy_search",
        semconv.STEPS_TOTAL: 40,
        semconv.RISK_SCORE: 0.25,
        semconv.RISK_LEVEL: "low",
        semconv.HEALTH_NAN: False,
        semconv.HEALTH_REPETITION_LOOP: True,
        semconv.HEALTH_HIGH_ENTROPY_STEPS: 3,
        semconv.WARNINGS: ["repetition_risk"],
        semconv.FINGERPRINT_PROMPT_HASH: "ab" * 32,
        semconv.GEN_AI_USAGE_INPUT_TOKENS: 5,
        semconv.GEN_AI_USAGE_OUTPUT_TOKENS: 40,
        semconv.GEN_AI_RESPONSE_FINISH_REASONS: ["length"],
        semconv.SERIES_ENTROPY: [1.0, 2.5, 0.5],
        **changes,
    }


def make_spans(count: int = 1, *, events: int = 2, service: str = "tests", **changes: Any) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1.2")
    for index in range(count):
        with tracer.start_as_current_span(f"text_completion {index}", attributes=run_attributes(**changes)) as span:
            for step in range(events):
                span.add_event(semconv.STEP_EVENT, {semconv.STEP_INDEX: step, semconv.STEP_ENTROPY: step / 2})
    return list(exporter.get_finished_spans())


def spans_asked(
    *events: Mapping[str, Any], experiment: Any = "short", count: int = 1, **changes: Any
) -> Sequence[ReadableSpan]:
    """Return spans of runs of an experiment, each with the events of its prompt."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "tests", prompt_names.EXPERIMENT: experiment}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    attributes = {name: value for name, value in run_attributes(**changes).items() if value is not None}
    for start in range(1, count + 1):
        span = provider.get_tracer("t").start_span("chat", attributes=attributes, start_time=start)
        for event in events:
            span.add_event(prompt_names.PROMPT_EVENT, event, 1)
        span.end(start + 10)
    return exporter.get_finished_spans()


def make_call(sequences: int, *, start_ns: int = 1_000, model: str = "org/model") -> list[ReadableSpan]:
    """Return the spans of one call with several sequences: theirs, then the call's own, as they end."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope")
    call = {semconv.GEN_AI_OPERATION_NAME: "chat", semconv.GEN_AI_REQUEST_MODEL: model}
    with tracer.start_as_current_span("chat org/model", attributes=call, start_time=start_ns):
        for index in range(sequences):
            attributes = {
                semconv.STEPS_TOTAL: 7 + index,
                semconv.SEQUENCE_INDEX: index,
                semconv.SEQUENCE_INPUT_TOKENS: 4,
                semconv.SEQUENCE_OUTPUT_TOKENS: 7 + index,
                semconv.MODEL_NAME: model,
                semconv.GEN_AI_RESPONSE_FINISH_REASONS: ["stop"],
            }
            tracer.start_span("sequence", attributes=attributes, start_time=start_ns).end()
    return list(exporter.get_finished_spans())


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def run_code(code: str, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own; a hang fails the test."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
