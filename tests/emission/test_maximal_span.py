"""The largest span that there can be: every option, prompt and answer, every verdict, an exception."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from opentelemetry_instrumentation_corevital import RAGContext, semconv
from opentelemetry_instrumentation_corevital.assessment.prompt_on_span import SPARED
from opentelemetry_instrumentation_corevital.assessment.run_attributes import start_attributes
from opentelemetry_instrumentation_corevital.baselines.profile import ProfiledRuns
from opentelemetry_instrumentation_corevital.baselines.run_numbers import RULE_VERSION
from opentelemetry_instrumentation_corevital.calibration import fit_profile, write_profile
from opentelemetry_instrumentation_corevital.catalogue import intervention_names
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.emission.content import shortened
from opentelemetry_instrumentation_corevital.emission.instruments import Instruments
from opentelemetry_instrumentation_corevital.emission.judgements import default_judgements
from opentelemetry_instrumentation_corevital.instrumentation.call_context import PromptHint
from opentelemetry_instrumentation_corevital.instrumentation.prompt_and_response import PromptAndResponse
from opentelemetry_instrumentation_corevital.instrumentation.reporting import CallReport
from tests.support.described_spans import assert_described, assert_few, encoded_bytes
from tests.support.largest_run import LAYERS, run_with_everything
from tests.support.made_runs import add_layers, make_run

ELSEWHERE = {
    semconv.GEN_AI_REQUEST_CHOICE_COUNT,  # of a call with several sequences, whose verdicts are on spans of their own
    semconv.SEQUENCE_COUNT,
    semconv.SEQUENCE_FLAGGED,
    semconv.SEQUENCE_INDEX,
    semconv.SEQUENCE_INPUT_TOKENS,
    semconv.SEQUENCE_OUTPUT_TOKENS,
    semconv.MODEL_NAME,
    semconv.RISK_ANSWER,  # of short runs that did not fail
    semconv.RISK_ANSWER_FACTORS,
    intervention_names.TOKENS_LEFT,  # of spans of CoreVital 0.1
    intervention_names.ROLLBACK_MODE,
    semconv.MIGRATED_FROM,  # of runs that are read from files
}


class Words:
    """A tokenizer."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return " ".join("word"[: 1 + token % 4] for token in tokens)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of a profile of this model in float32, as of so many runs that a limit rests on it."""
    info = dataclasses.replace(run_with_everything(8).model, dtype="float32")
    known = fit_profile([dataclasses.replace(add_layers(make_run(300), LAYERS), model=info)])
    numbers = ProfiledRuns(rule=RULE_VERSION, values=[1.0] * 50, tokens=[300] * 50, groups=range(50))
    path = tmp_path_factory.mktemp("profiles") / "profile.json"
    write_profile(known.model_copy(update={"runs": numbers}), path)
    return str(path)


def reported(capture: str, message: str, profile: str) -> ReadableSpan:
    """Return the span of that run, as the recorder has it written."""
    options = {
        "profile": profile,
        "layers": f"0..{LAYERS - 1}",
        "capture_ratio": 0.5,
        "capture_message_content": "span_and_event",
        "openinference": True,
    }
    settings = load_settings({"capture": capture, **options})
    run = run_with_everything(8 if capture == "summary" else 1)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer, start = provider.get_tracer(semconv.SCOPE_NAME), start_attributes(run.model.name, chat=True)
    span = tracer.start_span(f"chat {run.model.name}", attributes=start)
    hint = PromptHint("What is it? " * 20, chat=True, tokenizer=Words(), seed=7)
    report = CallReport(
        settings=settings,
        tracer=tracer,
        instruments=Instruments(NoOpMeter("none")),
        logger=LoggerProvider(shutdown_on_exit=False).get_logger(semconv.SCOPE_NAME),
        judgements=default_judgements(settings),
        span=span,
        context=set_span_in_context(span, Context()),
        model=run.model,
        prompt_and_response=PromptAndResponse(settings, hint, SimpleNamespace(arguments={})),  # type: ignore[arg-type]
        rag=RAGContext(4096, ["document-1", "document-2"], ["A title"] * 2, {"index": "wiki"}),
    )
    try:
        raise ValueError(message)
    except ValueError as error:
        report.write([run], error)
        report.write_failure(error)
    span.end()
    (finished,) = exporter.get_finished_spans()
    return finished


def cut_of(span: ReadableSpan) -> dict[str, str]:
    """Return what is absent, with the reason."""
    return dict(json.loads(str((span.attributes or {})[semconv.CAPTURE_ABSENT])))


@pytest.mark.parametrize(("capture", "limit"), [("summary", 48 * 1024), ("full", 80 * 1024), ("on_risk", 80 * 1024)])
@pytest.mark.parametrize("message", ["short", "long " * 5000])
def test_it_has_every_attribute_and_keeps_to_its_limits(capture: str, limit: int, message: str, profile: str) -> None:
    span = reported(capture, message, profile)
    attributes = dict(span.attributes or {})
    every = {name for kind, name in semconv.DEFINITIONS if kind == "attribute"} - ELSEWHERE
    if capture != "on_risk":
        every.remove(semconv.CAPTURE_UPGRADED)
    cut = {name for name, why in cut_of(span).items() if why.startswith("cut")}
    spared = {name for name, why in cut_of(span).items() if why.endswith("attributes")}
    assert spared <= set(SPARED)
    left_out = cut & semconv.content_attributes() | spared
    assert every - attributes.keys() <= left_out, "nothing but message text, and what is told elsewhere, is left out"
    assert_few({*attributes, semconv.RISK_ANSWER, semconv.RISK_ANSWER_FACTORS})
    assert attributes[semconv.GEN_AI_OPERATION_NAME] == "chat"
    assert span.dropped_attributes == span.dropped_events == 0
    assert encoded_bytes(span) <= limit
    assert_described(span)
    assert {"series", "layers"}.isdisjoint(cut)
    assert [event.name for event in span.events[-16:]] == [intervention_names.EVENT] * 15 + [semconv.EXCEPTION_EVENT]
    evidence = [intervention_names.EVIDENCE in (event.attributes or {}) for event in span.events[-16:-1]]
    told, more = "4 cut: a span has the last 15", "; evidence cut: span too large"
    assert (evidence, cut_of(span)["intervention_events"]) in (([True] * 15, told), ([False] * 15, told + more))
    assert all(evidence) or capture == "summary"
    (exception,) = [dict(event.attributes or {}) for event in span.events if event.name == semconv.EXCEPTION_EVENT]
    for told in (span.status.description, exception[semconv.EXCEPTION_MESSAGE]):
        assert str(told).startswith(message[:400])
        assert len(str(told)) <= 1024
    stacktrace = str(exception[semconv.EXCEPTION_STACKTRACE])
    assert stacktrace.startswith("Traceback")
    assert stacktrace.strip().endswith(message[-400:].strip())


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u6d77", "\U0001f30a"])
def test_a_long_text_keeps_its_beginning_and_its_end(letter: str) -> None:
    assert shortened(letter * 10, 100) == letter * 10
    short = shortened(f"begin{letter * 500}end", 100)
    assert short.startswith("begin")
    assert short.endswith("end")
    assert 80 < len(short.encode()) <= 100
