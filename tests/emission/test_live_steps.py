"""`step_events=logs`: each step is a log event while the run goes on, with the numbers that the run has in the end."""

from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.instrumentation.call_context import PromptHint, prompt_hint
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.saved_models import word_tokenizer
from tests.support.tiny_models import prompt, sharpen, tiny_model


def steps_of(telemetry: Telemetry) -> list[Any]:
    return [record for record in telemetry.logs if record.event_name == semconv.STEP_EVENT]


@pytest.mark.parametrize("capture", ["summary", "full"])
def test_a_step_has_the_numbers_that_its_run_has(capture: str) -> None:
    keep, model = Keep(), sharpen(tiny_model())
    with instrumented(capture=capture, step_events="logs", judgements=[keep]) as telemetry:
        model.generate(prompt(), max_new_tokens=60, do_sample=False, eos_token_id=None)
    (run,) = keep.runs
    records, attributes = steps_of(telemetry), telemetry.span.attributes or {}
    assert [record.attributes[semconv.STEP_INDEX] for record in records] == list(range(60))
    assert attributes[semconv.STEPS_RECORDED] == 60
    assert not telemetry.span.events
    assert [record.timestamp for record in records] == run.time_ns.tolist()
    assert telemetry.span.context is not None
    assert {(record.trace_id, record.span_id) for record in records} == {
        (telemetry.span.context.trace_id, telemetry.span.context.span_id)
    }
    columns = {semconv.STEP_ENTROPY: "entropy", semconv.STEP_SURPRISAL: "surprisal", semconv.STEP_MARGIN: "margin"}
    if capture == "full":
        columns |= {semconv.STEP_HIDDEN_COSINE: "hidden_cosine", semconv.STEP_TOPK_MASS: "topk_mass"}
        assert run.early_warning is not None
        told = [record.attributes[semconv.STEP_RISK_SO_FAR] for record in records]
        assert told == pytest.approx(run.early_warning.risk_so_far.tolist(), abs=1e-4)
        warned = {
            record.attributes[semconv.STEP_INDEX]: record.attributes.get("corevital.step.warnings")
            for record in records
        }
        expected = {step: list(signals) for step, signals in run.early_warning.active.items()}
        assert {step: list(names) for step, names in warned.items() if names} == expected
        assert expected, "a run that warns is one that shows it"
    for name, column in columns.items():
        told = [record.attributes.get(name, np.nan) for record in records]
        assert told == pytest.approx(run.columns[column].tolist(), rel=1e-5, nan_ok=True)
    fields = set().union(*(record.attributes for record in records))
    assert (semconv.STEP_ATTENTION_ENTROPY in fields) == (capture == "full")
    for record in records:
        assert all(("event attribute", name) in semconv.DEFINITIONS for name in record.attributes)


def test_steps_come_while_the_run_goes_on() -> None:
    telemetry, seen = Telemetry(), []

    class Streamer:
        def put(self, _tokens: Any) -> None:
            seen.append(len(steps_of(telemetry)))

        def end(self) -> None: ...

    with instrumented(telemetry, step_events="logs"):
        tiny_model().generate(prompt(), max_new_tokens=6, do_sample=False, eos_token_id=None, streamer=Streamer())
    assert len(steps_of(telemetry)) == 6
    assert seen[0] == 0, "the prompt comes first"
    assert seen[-1] >= 5, "at the last token the steps before it have been told"


def test_every_sequence_is_told_up_to_its_own_end() -> None:
    model = tiny_model(scale=1.0)
    often = list(range(2, 12))  # tokens that end a sequence
    with instrumented(step_events="logs") as telemetry:
        torch.manual_seed(0)
        model.generate(prompt(batch=3), max_new_tokens=60, do_sample=True, eos_token_id=often)
    *sequences, _call = telemetry.spans
    counts = [(span.attributes or {})[semconv.STEPS_TOTAL] for span in sequences]
    assert len(set(counts)) > 1, "they end at different steps"
    told = [record.attributes[semconv.SEQUENCE_INDEX] for record in steps_of(telemetry)]
    assert [told.count(index) for index in range(3)] == counts
    assert [(span.attributes or {})[semconv.STEPS_RECORDED] for span in sequences] == counts


@pytest.mark.parametrize("content", ["no_content", "span_only", "event_only"])
def test_a_step_has_its_text_where_log_events_have_content(content: str) -> None:
    tokenizer, keep = word_tokenizer(), Keep()
    options = {"step_events": "logs", "capture_message_content": content, "judgements": [keep]}
    with instrumented(**options) as telemetry, prompt_hint(PromptHint(tokenizer=tokenizer)):
        tiny_model().generate(prompt(batch=2), max_new_tokens=5, do_sample=False, eos_token_id=None)
    texts = [
        "".join(
            record.attributes.get("corevital.step.token_text", "")
            for record in steps_of(telemetry)
            if record.attributes[semconv.SEQUENCE_INDEX] == index
        )
        for index in range(2)
    ]
    whole = [tokenizer.decode(run.tokens.tolist()) for run in keep.runs]
    assert texts == (whole if content == "event_only" else ["", ""])


def test_where_nobody_takes_logs_the_span_says_so() -> None:
    from opentelemetry._logs import NoOpLoggerProvider

    with instrumented(step_events="logs", logger_provider=NoOpLoggerProvider()) as telemetry:
        tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False)
    attributes = telemetry.span.attributes or {}
    assert attributes[semconv.STEPS_RECORDED] == 0
    assert "no LoggerProvider" in str(attributes["corevital.capture.absent"])
