"""collector/phoenix.yaml in a real Collector: what Phoenix lists is made of the messages, where content is on."""

import json
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.collectors import collector
from tests.support.otlp_receivers import http_receiver
from tests.support.processes import wait_until
from tests.support.reported_runs import attributes

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]

OURS = {semconv.SCHEMA: semconv.SCHEMA_VERSION}


def messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


SPOKEN = {
    semconv.GEN_AI_INPUT_MESSAGES: messages("user", 'Why "so"?\n'),
    semconv.GEN_AI_OUTPUT_MESSAGES: messages("assistant", "Grüße"),
}
OWN = {semconv.INPUT_VALUE: "the program's own", semconv.OUTPUT_VALUE: "too"}
SPANS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "with content": ({**OURS, **SPOKEN}, {semconv.INPUT_VALUE: 'Why "so"?\n', semconv.OUTPUT_VALUE: "Grüße"}),
    "without": (OURS, {}),
    "told by the program": ({**OURS, **SPOKEN, **OWN}, OWN),
    "of somebody else": (SPOKEN, {}),
}
"""Name of a span -> its attributes, and what the Collector adds."""


def test_input_and_output_are_the_first_messages_of_our_runs(otelcol: str, tmp_path: Path) -> None:
    telemetry = InMemoryTelemetry()
    tracer = telemetry.tracer_provider.get_tracer(semconv.SCOPE_NAME)
    for name, (given, _) in SPANS.items():
        tracer.start_span(name, attributes=given).end()
    with (
        http_receiver() as phoenix,
        collector(otelcol, tmp_path, "no-store", "phoenix", PHOENIX_COLLECTOR_ENDPOINT=phoenix.endpoint) as running,
    ):
        running.export(telemetry.span_exporter.get_finished_spans(), [])
        wait_until(lambda: len(phoenix.spans()) >= len(SPANS))
    for span in phoenix.spans():
        given, added = SPANS[span.name]
        assert attributes(span) == given | added, span.name
