"""A router on the way decides by risk and flags: a run's span and its log events say the same of them."""

import math

import pytest

from opentelemetry_instrumentation_corevital import semconv
from tests.support.in_memory import instrumented
from tests.support.tiny_models import padded_batch, prompt, tiny_model

ROUTED = (semconv.RISK_SCORE, semconv.RISK_LEVEL, *semconv.HEALTH_FLAGS.values())


@pytest.mark.parametrize("broken", [False, True])
def test_log_events_say_of_risk_and_flags_what_the_span_says(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "event_only")
    model = tiny_model()
    if broken:
        model.lm_head.register_forward_hook(lambda module, inputs, output: output * math.nan)
    with instrumented(capture="full") as telemetry:
        model.generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
    said = {name: value for name, value in (telemetry.span.attributes or {}).items() if name in ROUTED}
    assert said[semconv.HEALTH_NAN] is broken
    assert {record.event_name for record in telemetry.logs} >= {semconv.EVALUATION_EVENT, semconv.RUN_DATA_EVENT}
    for record in telemetry.logs:
        assert {name: value for name, value in record.attributes.items() if name in ROUTED} == said


def test_a_calls_span_says_how_many_of_its_sequences_are_flagged() -> None:
    model = tiny_model()

    def break_the_second(_module: object, _inputs: object, output: object) -> object:
        output[1] = math.nan  # type: ignore[index]
        return output

    with instrumented() as telemetry:
        model.generate(**padded_batch(), max_new_tokens=4, do_sample=False, eos_token_id=None)
        model.lm_head.register_forward_hook(break_the_second)
        model.generate(**padded_batch(), max_new_tokens=4, do_sample=False, eos_token_id=None)
    calls = [span.attributes or {} for span in telemetry.spans if semconv.SEQUENCE_COUNT in (span.attributes or {})]
    assert [call[semconv.SEQUENCE_FLAGGED] for call in calls] == [0, 1]
