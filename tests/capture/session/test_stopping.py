"""Why a sequence ended comes from the criterion that ended it, row by row, and the tokens are counted exactly."""

import asyncio
import concurrent.futures
import time
from typing import Any

import pytest
import torch
from transformers import MaxLengthCriteria, StoppingCriteria

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.run import FINISH_REASONS
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.tiny_models import EOS, TRANSFORMERS_4, padded_batch, prompt, tiny_model
from tests.support.word_tokenizer import WORDS, tokenizer


class At(StoppingCriteria):
    """Ends each row at its length, and takes note of when it was asked."""

    def __init__(self, *lengths: int, shape: str = "rows") -> None:
        self.lengths, self.shape, self.asked = lengths, shape, [0]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        self.asked.append(input_ids.shape[1])
        lengths = self.lengths * len(input_ids) if len(self.lengths) == 1 else self.lengths
        rows = torch.tensor([input_ids.shape[1] >= length for length in lengths])
        return {"rows": rows, "bool": bool(rows[0]), "scalar": rows[0]}[self.shape]


class Slow(StoppingCriteria):
    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> bool:
        time.sleep(0.05)
        return False


def generated(model: Any = None, batch: int = 1, **options: Any) -> list[Run]:
    keep = Keep()
    model = tiny_model(eos_token_id=None) if model is None else model
    plain = model.generate(prompt(6, batch=batch), do_sample=False, **options)
    for criterion in options.get("stopping_criteria", ()):
        if isinstance(criterion, At):
            criterion.asked.clear()
    with instrumented(judgements=[keep]):
        found = model.generate(prompt(6, batch=batch), do_sample=False, **options)
    if "max_time" not in options or options["max_time"] > 10:
        assert torch.equal(found, plain)
    return keep.runs


def words(batch: int = 1, **options: Any) -> list[list[int]]:
    """Return what is generated without any criterion but the limit."""
    model = tiny_model(eos_token_id=None)
    ids: list[list[int]] = model.generate(prompt(6, batch=batch), max_new_tokens=6, do_sample=False, **options).tolist()
    return [row[6:] for row in ids]


CASES: dict[str, tuple[dict[str, Any], str, str, int]] = {
    "length": ({"max_new_tokens": 4}, "length", "length", 4),
    "length below the time": ({"max_new_tokens": 4, "max_time": 1000.0}, "length", "length", 4),
    "own": ({"max_new_tokens": 9, "stopping_criteria": [At(9)]}, "criterion", "stop", 3),
    "own, a bool": ({"max_new_tokens": 9, "stopping_criteria": [At(9, shape="bool")]}, "criterion", "stop", 3),
    "own, a scalar": ({"max_new_tokens": 9, "stopping_criteria": [At(9, shape="scalar")]}, "criterion", "stop", 3),
    "own, with a clock": (
        {"max_new_tokens": 9, "max_time": 1000.0, "stopping_criteria": [At(9)]},
        "criterion",
        "stop",
        3,
    ),
    "own, at the last token": ({"max_new_tokens": 3, "stopping_criteria": [At(9)]}, "criterion", "stop", 3),
    "a length of the caller's": (
        {"max_new_tokens": 9, "stopping_criteria": [MaxLengthCriteria(9)]},
        "length",
        "length",
        3,
    ),
}


@pytest.mark.parametrize(("options", "reason", "finish", "steps"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("beams", [1, 2], ids=["greedy", "beams"])
@pytest.mark.parametrize("batch", [1, 3], ids=["one", "batch"])
def test_the_reason_is_that_of_the_criterion(
    options: dict[str, Any], reason: str, finish: str, steps: int, beams: int, batch: int
) -> None:
    runs = generated(batch=batch, num_beams=beams, **options)
    assert [(run.stop_reason, run.finish_reason, run.output_tokens) for run in runs] == [
        (reason, finish, steps)
    ] * batch
    for criterion in options.get("stopping_criteria", ()):
        if isinstance(criterion, At):
            assert criterion.asked == list(range(7, 7 + steps)), "once a step, in order"


@pytest.mark.parametrize("beams", [1, 2], ids=["greedy", "beams"])
def test_the_clock_is_a_limit(beams: int) -> None:
    (run,) = generated(num_beams=beams, max_new_tokens=200, max_time=0.12, stopping_criteria=[Slow()])
    assert (run.stop_reason, run.finish_reason) == ("time", "length")
    assert 0 < run.steps < 200
    assert run.narrative is not None
    assert "cut off by its time limit" in run.narrative


@pytest.mark.parametrize("last", [False, True], ids=["before the limit", "at the last allowed token"])
@pytest.mark.parametrize("batch", [1, 3], ids=["one", "batch"])
def test_a_stop_string_is_told_from_the_limits(last: bool, batch: int) -> None:
    stop = WORDS[words()[0][2]]
    limits = {"max_new_tokens": 3 if last else 6, "max_time": 1000.0}
    runs = generated(batch=batch, stop_strings=[stop], tokenizer=tokenizer(), **limits)
    assert [run.stop_reason for run in runs] == ["stop_string", "length", "length"][:batch]
    assert [run.output_tokens for run in runs] == [3, limits["max_new_tokens"], limits["max_new_tokens"]][:batch]
    assert runs[0].narrative is not None
    assert "ended at a stop string" in runs[0].narrative


def test_a_stop_string_that_ends_a_beam_at_the_last_token() -> None:
    stop = WORDS[words(num_beams=2)[0][2]]
    runs = generated(batch=2, num_beams=2, stop_strings=[stop], tokenizer=tokenizer(), max_new_tokens=3)
    assert [run.stop_reason for run in runs] == ["stop_string", "length"]


def test_rows_of_a_batch_end_for_their_own_reasons() -> None:
    runs = generated(batch=3, max_new_tokens=8, stopping_criteria=[At(9, 99, 8)])
    assert [run.stop_reason for run in runs] == ["criterion", "length", "criterion"]
    assert [run.output_tokens for run in runs] == [3, 8, 2]


def test_a_criterion_that_is_true_of_a_row_that_is_over_is_not_its_reason() -> None:
    model, keep = tiny_model(scale=1.0), Keep()
    torch.manual_seed(3)
    with instrumented(judgements=[keep]):
        model.generate(
            **padded_batch(), max_new_tokens=60, do_sample=True, num_return_sequences=4, stopping_criteria=[At(65)]
        )
    reasons = {run.stop_reason for run in keep.runs}
    assert reasons == {"eos", "criterion"}
    for run in keep.runs:
        assert (run.stop_reason == "eos") == (run.tokens[-1] == EOS)
        assert (run.stop_reason == "criterion") == (run.output_tokens == 56 and run.tokens[-1] != EOS)


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"stopping_criteria": [At(9, 99, 8)]}])
@pytest.mark.parametrize("ratio", [1.0, 0.0], ids=["measured", "unmeasured"])
def test_generated_padding_is_counted(options: dict[str, Any], ratio: float) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()  # all tokens are equally probable: the first, which is the padding, is chosen
    with instrumented(capture_ratio=ratio) as telemetry:
        result = model.generate(prompt(6, batch=3), max_new_tokens=5, do_sample=False, **options)
    assert not result[:, 6:].any() or options == {"num_beams": 2}
    call = next(span for span in telemetry.spans if span.parent is None)
    expected = 3 + 5 + 2 if "stopping_criteria" in options else 15
    assert (call.attributes or {})["gen_ai.usage.output_tokens"] == expected


def test_assisted_decoding_has_its_reason() -> None:
    # transformers 4 looks nothing up in the prompt without an end token.
    options = {"prompt_lookup_num_tokens": 2, "eos_token_id": EOS}
    (run,) = generated(max_new_tokens=9, stopping_criteria=[At(9)], **options)
    assert (run.stop_reason, run.output_tokens) == ("criterion", 3)
    (run,) = generated(max_new_tokens=4, assistant_model=tiny_model(seed=1, eos_token_id=None))
    assert (run.stop_reason, run.output_tokens) == ("length", 4)


class _GenerationCancelled(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError(), "error"),
        (StopIteration(), "error"),
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (concurrent.futures.CancelledError(), "cancelled"),
        (_GenerationCancelled(), "cancelled"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_exception_ends_the_run_as_its_class_says(error: BaseException, reason: str) -> None:
    class Raises:
        seen = 0

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            self.seen += 1
            if self.seen == 3:
                raise error
            return scores

    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]), pytest.raises(type(error)) as caught:
        tiny_model().generate(prompt(6), max_new_tokens=9, do_sample=False, logits_processor=[Raises()])
    assert caught.value is error
    run, attributes = telemetry.run, dict(telemetry.span.attributes or {})
    assert (run.stop_reason, run.finish_reason, run.output_tokens) == (reason, FINISH_REASONS[run.stop_reason], 2)
    assert ("error.type" in attributes) is (run.error_type is not None) is (reason == "error")
    assert telemetry.span.status.is_unset is (reason == "cancelled")


@pytest.mark.parametrize(
    "error",
    [ValueError(), StopIteration(), KeyboardInterrupt(), asyncio.CancelledError(), _GenerationCancelled()],
    ids=lambda value: type(value).__name__,
)
def test_a_streamer_that_raises_ends_the_run(error: BaseException) -> None:
    class Raises:
        seen = 0

        def put(self, value: torch.Tensor) -> None:
            self.seen += 1
            if self.seen == 3:
                raise error

        def end(self) -> None: ...

    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]), pytest.raises(type(error)):
        tiny_model().generate(prompt(6), max_new_tokens=9, do_sample=False, streamer=Raises())
    run = telemetry.run
    # transformers 4 gives a token to the streamer before it checks whether to stop: that step has not ended.
    tokens = 1 if TRANSFORMERS_4 else 2
    assert (run.stop_reason, run.finish_reason, run.output_tokens) == ("cancelled", "stop", tokens)


def test_a_loop_that_ends_by_itself_has_no_reason() -> None:
    def loop(model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, **_: Any) -> Any:
        for _step in range(3):
            logits = logits_processor(input_ids, model(input_ids).logits[:, -1].float())
            input_ids = torch.cat([input_ids, logits.argmax(-1)[:, None]], -1)
            stopping_criteria(input_ids, None)
        return input_ids

    (run,) = generated(max_new_tokens=9, custom_generate=loop)
    assert (run.output_tokens, run.stop_reason, run.finish_reason) == (3, None, None)
    assert run.absent["stop_reason"] == "no stopping criterion was seen to end it"
    assert run.narrative is not None
    assert run.narrative.startswith("The run generated 3 tokens; its risk")
