"""Spans whose attributes have the types that the vocabulary declares."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.emission import budget
from opentelemetry_instrumentation_corevital.emission.judgements import (
    BlameProcessor,
    HealthProcessor,
    default_judgements,
    in_order,
)
from opentelemetry_instrumentation_corevital.emission.span import emit_run
from opentelemetry_instrumentation_corevital.run import Prompt
from tests.support.made_runs import make_run

MOST_ATTRIBUTES, MOST_CARRIED = 100, 10
"""Of a span: of its own, and what its caller gives it to carry: content, and the documents of a prompt.

The SDK keeps 128: there is room for a second set of GenAI names, which would be 16.
"""
_TYPES: dict[str, type] = {"string": str, "int": int, "double": float, "boolean": bool}


def assert_described(span: ReadableSpan) -> None:
    """Every name is in semconv with the type that it says, and nothing is None, NaN, infinite, a map or NumPy's."""

    def check(kind: Any, attributes: Any) -> None:
        for name, value in (attributes or {}).items():
            definition = semconv.DEFINITIONS[kind, name]
            item = _TYPES[definition.type.removesuffix("[]")]
            values = value if definition.type.endswith("[]") else [value]
            assert definition.type.endswith("[]") == isinstance(value, tuple), name
            for one in values:
                assert type(one) is item, (name, one)
                assert not isinstance(one, float) or math.isfinite(one), name

    check("attribute", span.attributes)
    for event in span.events:
        assert ("event", event.name) in semconv.DEFINITIONS
        check("event attribute", event.attributes)
    names = sorted(span.attributes or {})
    assert not [(a, b) for a in names for b in names if b.startswith(f"{a}.")], "no key is the parent of another"
    assert_few(names)


def assert_few(names: Iterable[str]) -> None:
    """A span has no more attributes than it may have."""
    every = set(names)
    carried = {name for name in every if name.startswith("corevital.rag.")} | semconv.content_attributes()
    assert len(every - carried) <= MOST_ATTRIBUTES
    assert len(carried) <= MOST_CARRIED


def emit(run: Run, *, limits: SpanLimits | None = None, text: str = "", **options: Any) -> ReadableSpan:
    """Judge a run made by hand and emit it, as the recorder does."""
    settings = load_settings(options)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("t").start_span("text_completion org/model")
    for judgement in in_order(default_judgements(settings), [HealthProcessor(), BlameProcessor()]):
        judgement.on_run_ending(span, run)
    full = settings.capture == "full"
    limit = settings.max_span_bytes or (budget.SPAN_BYTES_FULL if full else budget.SPAN_BYTES_SUMMARY)
    names = (semconv.GEN_AI_OUTPUT_MESSAGES, *([semconv.OUTPUT_VALUE] if settings.openinference else []))
    emit_run(span, run, settings, limit, dict.fromkeys(names, text) if text else None)
    span.end()
    (finished,) = exporter.get_finished_spans()
    return finished


def long_run(steps: int = 2000, **columns: Any) -> Run:
    rng = np.random.default_rng(0)
    run = make_run(
        steps,
        entropy=rng.gamma(2, 1.2, steps),
        surprisal=rng.gamma(1, 1.2, steps),
        margin=rng.beta(2, 2, steps),
        top1_prob=rng.beta(2, 2, steps),
        **columns,
    )
    run.prompt = Prompt("What is it?", "text")
    return run


def encoded_bytes(span: ReadableSpan) -> int:
    return len(encode_spans([span]).resource_spans[0].scope_spans[0].spans[0].SerializeToString())
