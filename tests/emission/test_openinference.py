"""Prompt and answer under OpenInference's names: where content is on and somebody asks for them, and only there."""

import json
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from tests.support.described_spans import emit, long_run
from tests.support.in_memory import instrumented
from tests.support.tiny_models import prompt, tiny_model

NAMES = {semconv.INPUT_VALUE, semconv.OUTPUT_VALUE}


class Words:
    """A tokenizer."""

    def decode(self, tokens: Any, **_: Any) -> str:
        return " ".join(f"w{int(token)}" for token in tokens)


def attributes(**options: Any) -> dict[str, Any]:
    with instrumented(**options) as telemetry:
        tiny_model().generate(
            prompt(), max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0, tokenizer=Words()
        )
    return dict(telemetry.span.attributes or {})


def test_both_are_the_text_of_the_messages() -> None:
    found = attributes(openinference=True, capture_message_content="span_only")
    for name, messages in (
        (semconv.INPUT_VALUE, semconv.GEN_AI_INPUT_MESSAGES),
        (semconv.OUTPUT_VALUE, semconv.GEN_AI_OUTPUT_MESSAGES),
    ):
        ((part,),) = [message["parts"] for message in json.loads(found[messages])]
        assert found[name] == part["content"]
        assert found[name].startswith("w")


@pytest.mark.parametrize(
    "options",
    [
        {"openinference": True},
        {"openinference": True, "capture_message_content": "event_only"},
        {"capture_message_content": "span_and_event"},
    ],
)
def test_neither_is_there_without_content_on_the_span_or_without_being_asked_for(options: dict[str, Any]) -> None:
    assert NAMES.isdisjoint(attributes(**options))


def test_a_span_without_room_loses_them_before_anything_but_step_events() -> None:
    def emitted(size: int | None = None) -> dict[str, Any]:
        span = emit(long_run(), text="word " * 1000, openinference=True, max_span_bytes=size)
        return dict(span.attributes or {})

    whole = emitted()
    assert whole[semconv.OUTPUT_VALUE] == whole[semconv.GEN_AI_OUTPUT_MESSAGES]
    enough = next(size for size in range(10_000, 48_000, 1000) if semconv.OUTPUT_VALUE in emitted(size))
    found = emitted(enough - 1000)
    assert json.loads(found[semconv.CAPTURE_ABSENT])[semconv.OUTPUT_VALUE] == "cut: span too large"
    assert found[semconv.GEN_AI_OUTPUT_MESSAGES] == whole[semconv.GEN_AI_OUTPUT_MESSAGES]
    assert found[semconv.SERIES_ENTROPY] == whole[semconv.SERIES_ENTROPY]
