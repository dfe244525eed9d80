"""The span status ERROR for risky runs: only where it is asked for, and never in the place of another one."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status, StatusCode
from transformers import LogitsProcessorList

from opentelemetry_instrumentation_corevital import semconv
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import prompt, tiny_model

RISKY = 0.9
"""Of a run that loops; one with all its steps above the entropy that is set has 0.5."""


def spans_of(status_on: str, *, loops: bool = True, sequences: int = 1, **options: object) -> list[ReadableSpan]:
    """Return the spans of one call that is risky, or of medium risk."""
    entropy = {} if loops else {"high_entropy_bits": 1e-6}
    telemetry = Telemetry()
    with instrumented(telemetry, status_on=status_on, **entropy):
        model = tiny_model(seed=3)
        more = {"num_return_sequences": sequences, "do_sample": True} if sequences > 1 else {"do_sample": False}
        steps = 120 if loops else 12
        allowed = [5] if loops else None
        model.generate(
            prompt(),
            max_new_tokens=steps,
            eos_token_id=None,
            pad_token_id=0,
            prefix_allowed_tokens_fn=None if allowed is None else lambda batch, ids: allowed,
            **more,
            **options,
        )
    return list(telemetry.spans)


@pytest.mark.parametrize(
    ("status_on", "loops", "marked"),
    [
        ("off", True, False),
        ("high", True, True),
        ("high", False, False),
        ("medium", True, True),
        ("medium", False, True),
    ],
)
def test_a_level_marks_itself_and_what_is_higher(status_on: str, loops: bool, marked: bool) -> None:
    (span,) = spans_of(status_on, loops=loops)
    attributes = span.attributes or {}
    assert attributes[semconv.RISK_LEVEL] == ("high" if loops else "medium")
    assert span.status.status_code is (StatusCode.ERROR if marked else StatusCode.UNSET)
    assert span.status.description == (attributes[semconv.ASSESSMENT] if marked else None)


def test_the_span_of_a_call_is_marked_for_its_worst_sequence() -> None:
    *children, call = spans_of("high", sequences=2)
    assert len(children) == 2
    for span in (*children, call):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == (span.attributes or {})[semconv.ASSESSMENT]


def test_a_call_that_failed_keeps_the_status_of_its_exception() -> None:
    telemetry = Telemetry()

    def breaks_off(ids: object, scores: object) -> object:
        if ids.shape[1] > 110:  # type: ignore[attr-defined]
            raise RuntimeError("the caller's own")
        return scores

    with instrumented(telemetry, status_on="medium"), pytest.raises(RuntimeError, match="own"):
        tiny_model(seed=3).generate(
            prompt(),
            max_new_tokens=120,
            do_sample=False,
            eos_token_id=None,
            prefix_allowed_tokens_fn=lambda batch, ids: [5],
            logits_processor=LogitsProcessorList([breaks_off]),
        )
    (span,) = telemetry.spans
    assert (span.attributes or {})[semconv.RISK_LEVEL] == "high", "else there would be nothing to override it with"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None, "its message may be content"
    assert (span.attributes or {})[semconv.ERROR_TYPE] == "RuntimeError"


@pytest.mark.parametrize("code", [StatusCode.OK, StatusCode.ERROR])
def test_a_status_that_the_caller_has_set_stays(code: StatusCode) -> None:
    def sets(ids: object, scores: object) -> object:
        trace.get_current_span().set_status(Status(code, "mine" if code is StatusCode.ERROR else None))
        return scores

    (span,) = spans_of("high", logits_processor=LogitsProcessorList([sets]))
    assert (span.status.status_code, span.status.description) == (code, "mine" if code is StatusCode.ERROR else None)
