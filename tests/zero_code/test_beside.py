"""Beside what others bring: OpenLLMetry's instrumentation, and the SDKs of logfire, Langfuse and Phoenix.

They are in an environment of their own on top of this one, since they bring much that nothing else here needs.
"""

from typing import Any

import pytest

from tests.support.environments import python_beside
from tests.support.otlp_receivers import http_receiver
from tests.support.subprocesses import run
from tests.support.zero_code_programs import PROGRAMS, attributes_of

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("beside")]

PACKAGES = (
    "opentelemetry-instrumentation-transformers==0.62.4",  # OpenLLMetry's
    "logfire==5.2.0",
    "langfuse==5.0.4",
    "arize-phoenix-otel==0.17.2",
)


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that has these packages and all of this environment's."""
    return str(python_beside("beside", PACKAGES))


def spans_of(python: str, arguments: list[str], **variables: str) -> dict[str, list[Any]]:
    """Return the spans that a program's OTLP exporter sends, by the first word of their names."""
    spans: dict[str, list[Any]] = {}
    with http_receiver() as received:
        run(
            [python, *arguments],
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            **variables,
        )
    for span in received.spans():
        spans.setdefault(span.name.split()[0], []).append(span)
    return spans


@pytest.mark.parametrize("sdk", ["logfire", "langfuse", "phoenix"])
def test_their_exporter_sends_our_spans_too(python: str, sdk: str) -> None:
    spans = spans_of(python, [str(PROGRAMS / f"beside_{sdk}.py")])
    (request,) = spans["request"]
    assert spans["text_completion"]
    for span in spans["text_completion"]:
        assert span.parent_span_id == request.span_id
        assert span.trace_id == request.trace_id
    attributes = attributes_of(spans["text_completion"][0])
    assert attributes["corevital.risk.level"].string_value == "low"
    assert len(spans["text_completion"][0].events) == 4
    if sdk == "langfuse":  # its filter passes spans that have a gen_ai.* key: those of single sequences have one
        assert len(spans["sequence"]) == 2


def test_openllmetrys_span_is_the_parent(python: str, demo_folder: str) -> None:
    start = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    arguments = ["-c", start, python, str(PROGRAMS / "beside_openllmetry.py"), demo_folder]
    spans = spans_of(python, arguments, OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    (theirs,) = spans["transformers_text_generation_pipeline.call"]
    (ours,) = spans["text_completion"]
    assert ours.parent_span_id == theirs.span_id
    attributes = attributes_of(ours)
    assert attributes["gen_ai.usage.output_tokens"].int_value == 4
    assert attributes["corevital.fingerprint.prompt_hash_source"].string_value == "text"
    assert not [name for name in attributes if name.endswith("messages")], "their switch for content is not ours"
