"""Finished spans made by the SDK, as exporters get them."""

from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry_instrumentation_corevital import semconv


def run_attributes(**changes: Any) -> dict[str, Any]:
    return {
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
