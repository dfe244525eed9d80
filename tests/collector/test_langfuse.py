"""collector/langfuse.yaml in a real Collector: the request that Langfuse would get, field by field."""

import base64
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OTLPSpan
from opentelemetry.trace import Status, StatusCode

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.collectors import collector
from tests.support.otlp_receivers import http_receiver
from tests.support.processes import wait_until
from tests.support.reported_runs import FLAGGED, attributes, healthy, looping, medium, report, torn

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]

METADATA = {
    "assessment": semconv.ASSESSMENT,
    "risk_score": semconv.RISK_SCORE,
    "risk_level": semconv.RISK_LEVEL,
    "risk_factors": semconv.RISK_FACTORS,
    "failure_risk": semconv.EARLY_WARNING_FAILURE_RISK,
    "entropy_mean": semconv.ENTROPY_MEAN,
    "surprisal_mean": semconv.SURPRISAL_MEAN,
    "prompt_hash": semconv.FINGERPRINT_PROMPT_HASH,
    "run_hash": semconv.FINGERPRINT_RUN_HASH,
    "sequence": semconv.SEQUENCE_INDEX,
    "flagged_sequences": semconv.SEQUENCE_FLAGGED,
}
"""Name below `langfuse.observation.metadata.corevital_` -> the attribute whose value it has."""


def mapped(sent: dict[str, Any], *, failed: bool) -> dict[str, Any]:
    """Return what Langfuse gets of a span of CoreVital's, in Python and not in OTTL."""
    flags = [flag for flag, name in semconv.HEALTH_FLAGS.items() if sent.get(name)]
    long = ("corevital.series.", "corevital.layers.", semconv.FINGERPRINT_VECTOR)
    found = {name: value for name, value in sent.items() if not name.startswith(long)}
    metadata = {f"corevital_{name}": sent[source] for name, source in METADATA.items() if source in sent}
    if flags:
        metadata["corevital_flags"] = flags
    if sent.get(semconv.WARNINGS):
        metadata["corevital_warnings"] = sent[semconv.WARNINGS]
    if sent.get(semconv.BLAME_LAYERS):
        metadata["corevital_blamed_layer"] = sent[semconv.BLAME_LAYERS][0]
    found |= {f"langfuse.observation.metadata.{name}": value for name, value in metadata.items()}
    of_a_call = semconv.SEQUENCE_INDEX not in sent
    found["langfuse.trace.tags"] = [*flags, "corevital", *([f"risk:{sent[semconv.RISK_LEVEL]}"] if of_a_call else [])]
    if not of_a_call:
        found["langfuse.observation.type"] = "span"
    for name, messages in (("input", semconv.GEN_AI_INPUT_MESSAGES), ("output", semconv.GEN_AI_OUTPUT_MESSAGES)):
        if sent.get(semconv.SEQUENCE_INDEX, 0) == 0 and messages in sent:
            found[f"langfuse.trace.{name}"] = sent[messages]
    if not failed:
        if semconv.NARRATIVE in sent:
            found["langfuse.observation.status_message"] = sent[semconv.NARRATIVE]
        if sent[semconv.RISK_LEVEL] == "high" or flags or sent.get(semconv.SEQUENCE_FLAGGED):
            found["langfuse.observation.level"] = "WARNING"
    return found


def test_langfuse_gets_verdicts_where_it_looks_for_them(otelcol: str, tmp_path: Path) -> None:
    telemetry = InMemoryTelemetry()
    level, expected = "langfuse.observation.level", {}

    def add(warns: bool, *make: Any, failed: bool = False, **options: Any) -> None:
        span = report(telemetry, *(each() for each in make), failed=failed, **options)
        expected[span.get_span_context().span_id] = warns

    add(True, looping)
    add(True, torn)
    add(True, FLAGGED["attention_collapse_detected"], risk=0.3)  # a flag, but no high risk
    add(True, healthy, risk=0.75)
    add(False, medium)
    add(False, healthy)
    add(False, torn, failed=True)
    add(True, healthy, FLAGGED["attention_collapse_detected"], risk=0.3)
    add_content(telemetry)
    foreign = telemetry.tracer_provider.get_tracer("app").start_span("request", attributes={"http.route": "/chat"})
    foreign.set_status(Status(StatusCode.OK))
    foreign.end()
    spans = telemetry.span_exporter.get_finished_spans()
    key = base64.b64encode(b"pk-lf-1:sk-lf-2").decode()
    with (
        http_receiver() as base,
        http_receiver() as langfuse,
        collector(
            otelcol,
            tmp_path,
            "langfuse",
            COREVITAL_OTLP_ENDPOINT=base.endpoint,
            LANGFUSE_HOST=langfuse.endpoint,
            LANGFUSE_AUTH=key,
        ) as running,
    ):
        running.export(spans, telemetry.log_exporter.get_finished_logs())
        wait_until(lambda: len(langfuse.spans()) >= len(spans) and len(base.spans()) >= len(spans))
    assert {signal for signal, _ in langfuse.messages} == {"trace"}, "it has no place for logs and metrics"
    for path, headers in langfuse.requests:
        assert path == "/api/public/otel/v1/traces"
        assert headers["authorization"] == f"Basic {key}"
        assert headers["content-type"] == "application/x-protobuf"
    original = {span.context.span_id: span for span in spans if span.context}
    assert len(langfuse.spans()) == len(original)
    for span in langfuse.spans():
        sent = original[int.from_bytes(span.span_id, "big")]
        assert (span.trace_id.hex(), span.name) == (f"{sent.context.trace_id:032x}", sent.name)  # type: ignore[union-attr]
        had = {
            name: list(value) if isinstance(value, tuple) else value for name, value in (sent.attributes or {}).items()
        }
        got = attributes(span)
        assert not span.events, "it would drop them"
        if span.name == "request":
            assert got == had
            continue
        assert got == mapped(had, failed=span.status.code == 2)
        if (warns := expected.get(int.from_bytes(span.span_id, "big"))) is not None:
            assert got.get(level) == ("WARNING" if warns else None)
    assert {level in attributes(span) for span in base.spans()} == {False}, "others get what was sent"
    assert all(untouched(span) for span in base.spans() if span.name.startswith("text"))


def add_content(telemetry: InMemoryTelemetry) -> None:
    """Add spans with messages: of a call with one sequence, and of two sequences of another."""
    said = {
        semconv.SCHEMA: semconv.SCHEMA_VERSION,
        semconv.RISK_LEVEL: "low",
        semconv.GEN_AI_INPUT_MESSAGES: '[{"role":"user","parts":[{"type":"text","content":"Why?"}]}]',
        semconv.GEN_AI_OUTPUT_MESSAGES: '[{"role":"assistant","parts":[{"type":"text","content":"So."}]}]',
    }
    tracer = telemetry.tracer_provider.get_tracer(semconv.SCOPE_NAME)
    for sequence in ({}, {semconv.SEQUENCE_INDEX: 0}, {semconv.SEQUENCE_INDEX: 1}):
        tracer.start_span("chat with content", attributes={**said, **sequence}).end()


def untouched(span: OTLPSpan) -> bool:
    """Whether a span that had series and step events still has them."""
    names = attributes(span)
    return semconv.SEQUENCE_COUNT in names or (semconv.SERIES_ENTROPY in names and len(span.events) > 0)
