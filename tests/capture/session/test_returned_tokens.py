"""What a call returns is read, or its tokens are absent with the reason: a caller's own loop may return anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital._internal import safety
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.tiny_models import EOS, PAD, prompt, tiny_encoder_decoder, tiny_model

Result = Callable[[torch.Tensor, int], Any]


def loop_that_returns(result: Result) -> Callable[..., Any]:
    """Return a loop of four greedy steps that returns what `result(ids, columns of the prompt)` makes of them."""

    def loop(model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, **_: Any) -> Any:
        columns = input_ids.shape[1]
        for _step in range(4):
            logits = logits_processor(input_ids, model(input_ids).logits[:, -1].float())
            input_ids = torch.cat([input_ids, logits.argmax(-1)[:, None]], -1)
            stopping_criteria(input_ids, None)
        return result(input_ids, columns)

    return loop


def runs_of(model: Any, *arguments: Any, **options: Any) -> list[Run]:
    keep = Keep()
    with instrumented(judgements=[keep]):
        model.generate(*arguments, **options)
    return keep.runs


READ: dict[str, Result] = {
    "prompt and new tokens": lambda ids, _: ids,
    "only the new tokens": lambda ids, columns: ids[:, columns:],
    "a dictionary": lambda ids, _: {"sequences": ids},
    "int32": lambda ids, _: ids.int(),
    "padding behind": lambda ids, _: torch.nn.functional.pad(ids, (0, 3), value=PAD),
}


@pytest.mark.parametrize("result", READ.values(), ids=READ)
@pytest.mark.parametrize("columns", [2, 8], ids=["more new tokens than prompt", "fewer"])
@pytest.mark.parametrize("batch", [1, 2])
def test_new_tokens_are_told_from_the_prompt(result: Result, columns: int, batch: int) -> None:
    model, ids = tiny_model(eos_token_id=None), prompt(columns, batch=batch)
    expected = model.generate(ids, max_new_tokens=4, do_sample=False)[:, columns:].tolist()
    runs = runs_of(model, ids, max_new_tokens=4, custom_generate=loop_that_returns(result))
    assert [run.tokens.tolist() for run in runs] == expected
    for run in runs:
        assert (run.output_tokens, run.stop_reason, run.input_tokens) == (4, "length", columns)
        assert len(run.columns["entropy"]) == 4


class Lazy:
    """Its ids are made when they are asked for, which is not for us to do."""

    @property
    def sequences(self) -> torch.Tensor:
        raise AssertionError("asked")


UNREAD: dict[str, tuple[Result, str]] = {
    "list": (lambda ids, _: ids.tolist(), "list"),
    "tuple": (lambda ids, _: (ids, None), "tuple"),
    "generator": (lambda ids, _: (row for row in ids), "generator"),
    "nothing": (lambda _ids, _: None, "NoneType"),
    "dictionary without sequences": (lambda ids, _: {"tokens": ids}, "dict"),
    "property": (lambda _ids, _: Lazy(), "Lazy"),
    "codebooks": (lambda ids, _: ids[:, None].expand(-1, 4, -1), "int64 [1, 4, 12]"),
    "one dimension": (lambda ids, _: ids[0], "int64 [12]"),
    "floats": (lambda ids, _: ids.float(), "float32 [1, 12]"),
    "no sequence": (lambda ids, _: ids[:0], "no sequence"),
    "other tokens": (lambda ids, _: ids.flip(-1) + 1, "neither begins with the prompt"),
    "on no device": (lambda ids, _: ids.to("meta"), "have no values"),
}


@pytest.mark.parametrize(("result", "reason"), UNREAD.values(), ids=UNREAD)
def test_what_cannot_be_read_is_absent_with_the_reason_everywhere(result: Result, reason: str) -> None:
    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]):
        tiny_model().generate(prompt(8), max_new_tokens=4, custom_generate=loop_that_returns(result))
    run, attributes = telemetry.run, telemetry.span.attributes or {}
    assert (run.output_tokens, run.finish_reason, run.stop_reason, run.columns) == (None, None, None, {})
    absent = json.loads(str(attributes["corevital.capture.absent"]))
    for name in ("output_tokens", "stop_reason", "entropy", "attention", "repetition_loop_detected", "repetition_risk"):
        assert reason in absent[name], name
    assert attributes["gen_ai.usage.input_tokens"] == 8
    for name in (
        "gen_ai.usage.output_tokens",
        "gen_ai.response.finish_reasons",
        "corevital.steps.total",
        "corevital.health.repetition_loop_detected",
        "corevital.early_warning.signals",
        "corevital.risk.score",
    ):
        assert name not in attributes, name
    assert attributes["corevital.narrative"] == (
        "The run generated tokens that could not be read. Its logits were not measured."
    )
    usage = telemetry.metrics()["gen_ai.client.token.usage"]
    assert [point.attributes["gen_ai.token.type"] for point in usage] == ["input"]


def test_rows_that_a_loop_leaves_out_are_not_counted() -> None:
    first_of = loop_that_returns(lambda ids, _: ids[1:2])
    (run,) = runs_of(tiny_model(eos_token_id=None), prompt(8, batch=3), max_new_tokens=4, custom_generate=first_of)
    assert run.output_tokens == 4
    assert run.input_tokens is None, "which prompt it is of is not known"
    assert run.absent["entropy"] == "the loop's steps are not those of the result"


def test_a_batch_whose_result_cannot_be_read_has_the_tokens_of_all_its_prompts() -> None:
    nothing = loop_that_returns(lambda _ids, _: None)
    with instrumented() as telemetry:
        tiny_model().generate(prompt(8, batch=3), max_new_tokens=4, custom_generate=nothing)
    assert (telemetry.span.attributes or {})["gen_ai.usage.input_tokens"] == 24


def test_odd_results_of_any_number_are_no_faults_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    with instrumented() as telemetry:
        for _ in range(safety.BREAKER_LIMIT):
            for result, _reason in UNREAD.values():
                model.generate(prompt(8), max_new_tokens=4, custom_generate=loop_that_returns(result))
            model.generate(prompt(8), max_new_tokens=4, custom_generate=loop_that_returns(READ["only the new tokens"]))
        telemetry.span_exporter.clear()
        model.generate(prompt(8), max_new_tokens=4)
    assert telemetry.span.attributes
    assert "CoreVital" not in caplog.text


def test_a_result_without_its_prompt_that_nobody_observed_is_not_counted() -> None:
    def unseen(_model: Any, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((1, 12), 7)

    (run,) = runs_of(tiny_model(), prompt(8), max_new_tokens=12, custom_generate=unseen)
    assert (run.output_tokens, run.finish_reason) == (None, None)


def test_the_result_of_embeddings_alone_is_all_new() -> None:
    model = tiny_model()
    embeddings = model.get_input_embeddings()(prompt(5))
    made = torch.tensor([[5, 6, 7]])
    (run,) = runs_of(model, inputs_embeds=embeddings, max_new_tokens=4, custom_generate=lambda *_, **__: made)
    assert (run.tokens.tolist(), run.input_tokens) == ([5, 6, 7], 5)


def test_an_encoder_decoders_loop_begins_with_the_start_token() -> None:
    def loop(_model: Any, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.cat([input_ids, torch.tensor([[5, 6, EOS]])], -1)

    (run,) = runs_of(tiny_encoder_decoder("t5"), prompt(5), max_new_tokens=9, custom_generate=loop)
    assert (run.tokens.tolist(), run.stop_reason) == ([5, 6, EOS], "eos")


DELEGATES = """
import torch
from transformers import GenerationMixin

def loop(model, input_ids, logits_processor, stopping_criteria, **_):
    done = False
    while not done:
        logits = logits_processor(input_ids, model(input_ids).logits[:, -1].float())
        input_ids = torch.cat([input_ids, logits.argmax(-1)[:, None]], -1)
        done = bool(stopping_criteria(input_ids, None).all())
    return input_ids

def generate(model, *args, **kwargs):
    return GenerationMixin.generate(model, *args, custom_generate=loop, **kwargs)
"""
OWN_LOOP = """
import torch

def generate(model, inputs=None, max_new_tokens=None, **_):
    for _step in range(max_new_tokens):
        inputs = torch.cat([inputs, model(inputs).logits[:, -1].argmax(-1)[:, None]], -1)
    return inputs
"""
TWICE = """
def generate(model, inputs=None, max_new_tokens=None, **_):
    half = model.generate(inputs, max_new_tokens=max_new_tokens // 2, do_sample=False)
    return model.generate(half, max_new_tokens=max_new_tokens // 2, do_sample=False)
"""


@pytest.mark.parametrize("code", [DELEGATES, OWN_LOOP, TWICE], ids=["delegates", "own loop", "twice"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("ratio", [1.0, 0.0], ids=["measured", "unmeasured"])
def test_code_from_a_repository_is_counted(tmp_path: Path, code: str, batch: int, ratio: float) -> None:
    (tmp_path / "custom_generate").mkdir()
    (tmp_path / "custom_generate" / "generate.py").write_text(code)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    telemetry, model, ids = Telemetry(), tiny_model(eos_token_id=None), prompt(6, batch=batch)
    options: dict[str, Any] = {"custom_generate": str(tmp_path), "trust_remote_code": True}
    plain = model.generate(ids, max_new_tokens=4, do_sample=False)
    with instrumented(telemetry, judgements=[telemetry], capture_ratio=ratio):
        assert torch.equal(model.generate(ids, max_new_tokens=4, do_sample=False, **options), plain)
    call = next(span for span in telemetry.spans if span.parent is None)
    assert (call.attributes or {})["gen_ai.usage.output_tokens"] == 4 * batch
    for run, row in zip(telemetry.runs, plain, strict=bool(ratio)):
        assert run.tokens.tolist() == row[6:].tolist()
        assert ("entropy" in run.columns) == (code is DELEGATES)
        if code is not TWICE:
            assert run.stop_reason == "length"


def test_a_strategy_from_a_repository_has_tokens_and_reason(tmp_path: Path) -> None:
    (tmp_path / "custom_generate").mkdir()
    (tmp_path / "custom_generate" / "generate.py").write_text(DELEGATES)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (run,) = runs_of(
        tiny_model(),
        prompt(6),
        max_new_tokens=4,
        penalty_alpha=0.6,
        top_k=4,
        custom_generate=str(tmp_path),
        trust_remote_code=True,
    )
    assert (run.output_tokens, run.stop_reason) == (4, "length")
    assert run.absent["entropy"] == "not measured in decoding strategy contrastive_search"


@pytest.mark.acceptance
def test_continuous_batching_inside_generate_is_counted() -> None:
    pytest.importorskip("transformers.generation.continuous_batching.continuous_api")
    model = tiny_model()
    plain = model.generate(prompt(6), max_new_tokens=5, do_sample=False)
    (run,) = runs_of(model, prompt(6), max_new_tokens=5, do_sample=False, cache_implementation="paged")
    assert run.tokens.tolist() == plain[0, 6:].tolist()
    assert run.stop_reason == "length"
    assert "continuous batching" in run.absent["entropy"]


class Fails:
    """A criterion that raises at the third step."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> bool:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError
        return False


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"prompt_lookup_num_tokens": 2}], ids=["beams", "assisted"])
def test_tokens_before_a_failure_that_nobody_observed_are_not_zero(options: dict[str, Any]) -> None:
    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]), pytest.raises(RuntimeError):
        tiny_model().generate(prompt(6), max_new_tokens=9, stopping_criteria=[Fails()], do_sample=False, **options)
    assert telemetry.run.output_tokens is None
    assert telemetry.run.stop_reason == "error"
    assert "gen_ai.usage.output_tokens" not in (telemetry.span.attributes or {})


def test_a_call_that_is_refused_generates_nothing() -> None:
    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]), pytest.raises(ValueError, match="nonsense"):
        tiny_model().generate(prompt(6), max_new_tokens=9, nonsense=1)
    assert telemetry.run.output_tokens == 0


@pytest.mark.parametrize("prompts", [1, 2])
def test_a_prompt_of_which_a_loop_returns_several_rows_counts_once(prompts: int) -> None:
    def several(_model: Any, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.cat([input_ids, torch.full((len(input_ids), 2), 9)], 1).repeat_interleave(2, 0)

    with instrumented(Telemetry()) as telemetry:
        tiny_model().generate(prompt(6, batch=prompts), max_new_tokens=2, custom_generate=several)
    call = next(span for span in telemetry.spans if span.parent is None)
    assert (call.attributes or {})["gen_ai.usage.input_tokens"] == 6 * prompts
    assert (call.attributes or {})["gen_ai.usage.output_tokens"] == 4 * prompts
