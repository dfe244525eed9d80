"""Tokens are taken back within a call: the result, the run and what the caller's objects see are of one call."""

import gc
import logging
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList, StaticCache, StoppingCriteria

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.capture.session import rollback
from opentelemetry_instrumentation_corevital.policies import PolicyError, RollBack, Stop
from opentelemetry_instrumentation_corevital.testing import capture_runs
from tests.support.identity import observe
from tests.support.in_memory import instrumented
from tests.support.policies import GREEDY, SAMPLED, acted_on, at, generate, once
from tests.support.tiny_models import ARCHITECTURES, PAD, prompt, tiny_encoder_decoder, tiny_model

PROMPT = 6
ACTED, BACK = 10, 4
KEPT = ACTED + 1 - BACK
"""A policy that judges step 9 acts at step 10, and takes 4 of its 11 tokens back."""


def back(steps: Callable[[Any], bool] | None = None, **options: Any) -> RollBack:
    return RollBack(on=steps or once(ACTED - 1), **{"to": BACK, "changes": {"do_sample": True}, **options})


def padded() -> dict[str, Any]:
    ids, mask = prompt(9), torch.ones(1, 9, dtype=torch.long)
    ids[0, :3], mask[0, :3] = PAD, 0
    return {"input_ids": ids, "attention_mask": mask}


def assert_agree(run: Run, new_tokens: torch.Tensor) -> None:
    """Fail where a run is not that of the tokens that the call returned."""
    assert run.tokens.tolist() == new_tokens.tolist()
    assert run.steps == len(run.time_ns) == len(new_tokens)
    assert (np.diff(run.time_ns) > 0).all()
    assert all(len(column) == run.steps for column in run.columns.values())


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("inputs", [None, padded()], ids=["one", "padded"])
def test_the_tokens_before_are_kept_and_the_others_come_anew(options: Any, inputs: Any) -> None:
    model = tiny_model()
    start = PROMPT if inputs is None else 9
    plain = generate(model, inputs, **options)
    result, (run,) = acted_on([back()], model, inputs, **options)
    assert result.shape == plain.shape
    assert torch.equal(result[:, : start + KEPT], plain[:, : start + KEPT])
    assert not torch.equal(result, plain)
    assert_agree(run, result[0, start:])
    (done,) = run.interventions
    assert (done.kind, done.step, done.to_step, done.outcome) == ("roll_back", ACTED, KEPT, "continued")
    assert (done.rollback_mode, done.tokens_left, run.stop_reason) == ("crop", 24 - ACTED - 1, "length")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_changes_a_greedy_run_goes_on_as_it_would_have(architecture: str) -> None:
    """The continuation computes what the untouched run computed: same positions, same mask, same cache."""
    model = tiny_model(architecture)
    plain = generate(model, **GREEDY)
    result, (run,) = acted_on([back(changes={})], model, **GREEDY)
    assert torch.equal(result, plain)
    sliding = ARCHITECTURES[architecture][1].get("sliding_window")
    assert run.interventions[0].rollback_mode == ("prefill" if sliding else "crop")
    with capture_runs(capture="full") as telemetry:
        generate(model, **GREEDY)
    for name, column in telemetry.runs[0].columns.items():
        found = np.asarray(run.columns[name], np.float64)
        beside = [step for step in range(run.steps) if name != "hidden_cosine" or step not in (0, KEPT)]
        np.testing.assert_allclose(found[beside], np.asarray(column, np.float64)[beside], atol=2e-5, rtol=2e-4)
    assert np.isnan(run.columns["hidden_cosine"][KEPT])


CACHES: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({"use_cache": False}, "prefill"),
    "static": ({"cache_implementation": "static"}, "prefill"),
    "dictionary": ({"return_dict_in_generate": True}, "crop"),
    "chunks": ({"prefill_chunk_size": 4}, "crop"),
    "offloaded": ({"cache_implementation": "offloaded"}, "prefill"),
}


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_is_cropped_where_it_can_be(name: str) -> None:
    options, mode = CACHES[name]
    if name == "offloaded" and not torch.cuda.is_available():
        pytest.skip("transformers moves keys between a GPU and the host only")
    model = tiny_model()
    plain = generate(model, **GREEDY, **options)
    result, (run,) = acted_on([back(changes={})], model, **GREEDY, **options)
    assert run.interventions[0].rollback_mode == mode
    if name == "dictionary":
        assert result.past_key_values.get_seq_length() == plain.past_key_values.get_seq_length()
        result, plain = result.sequences, plain.sequences
    assert torch.equal(result, plain)
    assert_agree(run, result[0, PROMPT:])


def test_a_callers_own_cache_is_cut_back_in_place() -> None:
    model = tiny_model()
    cache, other = DynamicCache(config=model.config), DynamicCache(config=model.config)
    plain = generate(model, past_key_values=other, **GREEDY)
    result, (run,) = acted_on([back(changes={})], model, past_key_values=cache, **GREEDY)
    assert torch.equal(result, plain)
    assert run.interventions[0].rollback_mode == "crop"
    assert cache.get_seq_length() == other.get_seq_length()


def test_a_prompt_can_be_positional_or_absent() -> None:
    model = tiny_model()
    options = {"max_new_tokens": 24, "do_sample": False, "eos_token_id": None, "pad_token_id": PAD}
    for given, plain in (((prompt(),), generate(model, **GREEDY)), ((), model.generate(**options))):
        with capture_runs(policies=[back(changes={})]) as telemetry:
            assert torch.equal(model.generate(*given, **options), plain)
        assert len(telemetry.runs[0].interventions) == 1


def test_all_tokens_can_be_taken_back() -> None:
    model = tiny_model()
    result, (run,) = acted_on([back(to=1000, changes={})], model, **GREEDY)
    assert torch.equal(result, generate(model, **GREEDY))
    assert run.interventions[0].to_step == 0
    assert_agree(run, result[0, PROMPT:])


def test_several_rollbacks_within_the_budget() -> None:
    model = tiny_model()
    with capture_runs(policies=[back(at(ACTED - 1))], max_interventions=2) as telemetry:
        result = generate(model, **GREEDY)
    (run,) = telemetry.runs
    assert [each.to_step for each in run.interventions] == [KEPT, KEPT]
    assert_agree(run, result[0, PROMPT:])
    with capture_runs(policies=[back()], max_interventions=0) as telemetry:
        result = generate(model, **GREEDY)
    assert torch.equal(result, generate(model, **GREEDY))
    assert telemetry.runs[0].interventions == ()


def test_a_repetition_is_cut_back_to_the_end_of_its_first_copy() -> None:
    model = tiny_model()
    loop = LogitsProcessorList([Loops(PROMPT)])
    policy = RollBack(on="repetition_risk")
    result, (run,) = acted_on([policy], model, tokens=60, logits_processor=loop, **GREEDY)
    done = run.interventions[0]
    assert done.to_step == done.evidence["onset_step"] == 5
    assert done.evidence["period"] == 5
    assert_agree(run, result[0, PROMPT:])


class Loops(LogitsProcessor):
    """Has five tokens come again and again, until tokens are taken back."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.loops = True
        self.told: list[int] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.loops:
            scores = torch.full_like(scores, -1e4)
            scores[:, 10 + (input_ids.shape[1] - self.start) % 5] = 0.0
        return scores

    def rollback(self, to_step: int) -> None:
        self.told.append(to_step)
        self.loops = False


def test_nothing_is_left_over() -> None:
    """No tensor, module or cache, and nothing that only the cyclic collector would free."""
    model = tiny_model()
    plain = observe(lambda: generate(model, streamer=Streamer(), **GREEDY))
    with instrumented(policies=[back(at(ACTED - 1))]):
        generate(model, streamer=Streamer(), **GREEDY)
        found = observe(lambda: generate(model, streamer=Streamer(), **GREEDY))
    gc.unfreeze()
    assert not torch.equal(found.result, plain.result)
    assert found.garbage <= plain.garbage
    assert found.alive == plain.alive


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"max_new_tokens": 18}, {"max_length": 24}, {"max_length": 20, "min_length": 20}])
def test_limits_are_those_of_the_whole_call(limit: dict[str, int]) -> None:
    model = tiny_model()
    with capture_runs(policies=[back()]) as telemetry:
        found = model.generate(prompt(), do_sample=False, eos_token_id=None, pad_token_id=PAD, **limit)
    assert found.shape[1] == limit.get("max_length", PROMPT + 18)
    (run,) = telemetry.runs
    assert (run.stop_reason, run.decoding.max_new_tokens) == ("length", found.shape[1] - PROMPT)
    assert run.decoding.strategy == "greedy_search"


@pytest.mark.parametrize("least", [{"min_new_tokens": 20}, {"min_length": PROMPT + 20}])
def test_the_least_length_is_that_of_the_whole_call(least: dict[str, int]) -> None:
    model = tiny_model()
    every = list(range(3, 128))
    with capture_runs(policies=[back()]) as telemetry:
        found = model.generate(
            prompt(), max_new_tokens=40, do_sample=False, eos_token_id=every, pad_token_id=PAD, **least
        )
    assert found.shape[1] == PROMPT + 21
    assert telemetry.runs[0].stop_reason == "eos"


def test_time_that_is_used_up_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    use_up = rollback._use_up

    def spied(config: Any, *others: Any) -> None:
        use_up(config, *others)
        seen.append(config.max_time)

    monkeypatch.setattr(rollback, "_use_up", spied)
    acted_on([back()], tiny_model(), max_time=1000.0, **GREEDY)
    assert 900.0 < seen[0] < 1000.0


@pytest.mark.parametrize(
    "option",
    [
        {"begin_suppress_tokens": list(range(3, 100))},
        {"encoder_repetition_penalty": 3.0},
        {"exponential_decay_length_penalty": (2, 1.5), "eos_token_id": 2},
        {"min_new_tokens": 12},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_is_special_about_the_prompt_is_so_of_the_prompt_alone(option: dict[str, Any]) -> None:
    model = tiny_model()

    def run() -> Any:
        given = {"eos_token_id": None, "pad_token_id": PAD, **option}
        return model.generate(prompt(), max_new_tokens=24, do_sample=False, **given)

    plain = run()
    with capture_runs(policies=[back(changes={})]) as telemetry:
        assert torch.equal(run(), plain)
    assert len(telemetry.runs[0].interventions) == (1 if plain.shape[1] > PROMPT + ACTED + 1 else 0)


# --- the caller's own objects -----------------------------------------------------------------------------------------


class Streamer:
    """Keeps new tokens, and forgets those that are taken back."""

    def __init__(self) -> None:
        self.prompts: list[list[int]] = []
        self.tokens: list[int] = []
        self.told: list[int] = []
        self.ended = 0

    def put(self, value: torch.Tensor) -> None:
        if not self.prompts:
            self.prompts.append(value.flatten().tolist())
        else:
            self.tokens += value.flatten().tolist()

    def rollback(self, to_step: int) -> None:
        self.told.append(to_step)
        del self.tokens[to_step:]

    def end(self) -> None:
        self.ended += 1


def test_a_streamer_sees_one_call() -> None:
    streamer = Streamer()
    result, _ = acted_on([back(), Stop(on=at(20))], tiny_model(), streamer=streamer, **GREEDY)
    assert streamer.prompts == prompt().tolist()
    assert streamer.tokens == result[0, PROMPT:].tolist()
    assert (streamer.told, streamer.ended) == ([KEPT], 1)


class Count(StoppingCriteria):
    """Counts steps, as a criterion that keeps state does."""

    def __init__(self) -> None:
        self.steps = 0
        self.told: list[int] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self.steps += 1
        return torch.full((len(input_ids),), self.steps == 20)

    def rollback(self, to_step: int) -> None:
        self.told.append(to_step)
        self.steps = to_step


def test_processors_and_criteria_are_told() -> None:
    loop, count = Loops(PROMPT), Count()
    given = {"logits_processor": LogitsProcessorList([loop]), "stopping_criteria": [count]}
    result, (run,) = acted_on([back()], tiny_model(), **given, **GREEDY)
    assert loop.told == count.told == [KEPT]
    assert result.shape[1] == PROMPT + 20
    assert run.stop_reason == "criterion"


def test_what_they_raise_is_the_calls(caplog: pytest.LogCaptureFixture) -> None:
    class Full(Streamer):
        def rollback(self, to_step: int) -> None:
            raise BufferError("full")

    model = tiny_model()
    with capture_runs(policies=[back()]) as telemetry, pytest.raises(BufferError):
        generate(model, streamer=Full(), **GREEDY)
    (run,) = telemetry.runs
    assert run.stop_reason == "error"
    assert run.error_type == "BufferError"


def test_an_exception_of_the_second_loop_is_the_calls() -> None:
    class Fails(Loops):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if self.told and input_ids.shape[1] == PROMPT + KEPT + 2:
                raise BufferError
            return scores

    model = tiny_model()
    with capture_runs(policies=[back()]) as telemetry, pytest.raises(BufferError):
        generate(model, logits_processor=LogitsProcessorList([Fails(PROMPT)]), **GREEDY)
    (run,) = telemetry.runs
    assert run.steps == KEPT + 2
    assert len(run.interventions) == 1


# --- where it cannot be -----------------------------------------------------------------------------------------------


class Plain:
    def put(self, value: Any) -> None: ...

    def end(self) -> None: ...


class Own(LogitsProcessor):
    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores


REFUSED: dict[str, tuple[Callable[[Any], dict[str, Any]], str]] = {
    "batch": (lambda model: {"input_ids": prompt(batch=2)}, "the call has several sequences"),
    "several": (lambda model: {"num_return_sequences": 2, "do_sample": True}, "the call has several sequences"),
    "embeddings": (
        lambda model: {"input_ids": None, "inputs_embeds": model.get_input_embeddings()(prompt())},
        "the prompt is embeddings",
    ),
    "scores": (
        lambda model: {"return_dict_in_generate": True, "output_scores": True},
        "the result has scores, logits, hidden states or attentions of every step",
    ),
    "streamer": (lambda model: {"streamer": Plain()}, "the streamer has no method rollback(to_step)"),
    "processor": (
        lambda model: {"logits_processor": LogitsProcessorList([Own()])},
        "the logits processor Own may keep state and has no method rollback(to_step)",
    ),
    "guidance": (
        lambda model: {"guidance_scale": 1.5},
        "the logits processor UnbatchedClassifierFreeGuidanceLogitsProcessor may keep state and has no method "
        "rollback(to_step)",
    ),
    "cache": (
        lambda model: {"past_key_values": StaticCache(config=model.config, max_cache_len=64)},
        "the caller's cache cannot be cut back",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_it_cannot_be_it_says_so_at_once_and_does_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    made, reason = REFUSED[name]
    options = {"input_ids": prompt(), **GREEDY, **made(model)}
    inputs = {"input_ids": options.pop("input_ids")}
    result, runs = acted_on([back()], model, inputs, **options)
    said = [record.getMessage() for record in caplog.records if "RollBack" in record.getMessage()]
    assert said == [
        f"CoreVital: RollBack cannot act on this generate() call (not said again of calls like it): {reason}"
    ]
    assert all(run.interventions == () for run in runs)
    assert all(run.absent["interventions"] == f"roll_back: {reason}" for run in runs)
    options = {"input_ids": prompt(), **GREEDY, **made(model)}
    plain = generate(model, {"input_ids": options.pop("input_ids")}, **options)
    assert torch.equal(getattr(result, "sequences", result), getattr(plain, "sequences", plain))


def test_ranks_that_generate_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "_ranks", lambda: 2)
    _, (run,) = acted_on([back()], tiny_model(), **GREEDY)
    assert run.absent["interventions"] == "roll_back: the ranks of a distributed run generate together"


def test_an_encoder_decoder_is_refused() -> None:
    _, (run,) = acted_on([back()], tiny_encoder_decoder("t5"), **GREEDY)
    assert run.absent["interventions"] == "roll_back: the model is an encoder-decoder"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"temprature": 1.0}, "generate() has no keyword temprature"),
        ({"do_sample": True, "temperature": -1.0}, "transformers refuses its changes (ValueError)"),
        ({"stop_strings": ["end"]}, "transformers refuses its changes (ValueError)"),  # it needs a tokenizer
        ({"eos_token_id": "end"}, "transformers refuses its changes (TypeError)"),
    ],
)
def test_changes_that_cannot_be_are_refused_before_the_first_step(changes: dict[str, Any], reason: str) -> None:
    _, (run,) = acted_on([back(changes=changes)], tiny_model(), **GREEDY)
    assert run.absent["interventions"] == f"roll_back: {reason}"


@pytest.mark.parametrize("broken", [0, 5])
def test_what_was_chosen_from_values_that_were_not_finite_is_taken_back(broken: int) -> None:
    """They come once: the tokens are those of a run without them."""
    model = tiny_model()
    plain, fine, calls = generate(model, **GREEDY), model.lm_head.forward, list[int]()

    def head(hidden: torch.Tensor) -> torch.Tensor:
        calls.append(len(calls))
        return fine(hidden) * (float("nan") if calls[-1] == broken else 1.0)

    model.lm_head.forward = head
    result, (run,) = acted_on([RollBack(on="nan", changes={})], model, **GREEDY)
    assert [(done.step, done.to_step) for done in run.interventions] == [(broken + 1, broken)]
    assert torch.equal(result, plain)


@pytest.mark.parametrize("name", ["num_beams", "max_new_tokens", "streamer", "past_key_values", "output_scores"])
def test_changes_of_what_the_call_is_are_refused_when_they_are_given(name: str) -> None:
    with pytest.raises(PolicyError, match=name):
        RollBack(changes={name: 2})


@pytest.mark.parametrize("place", ["continuation", "why_not"])
def test_what_fails_of_ours_ends_the_run_or_leaves_it_alone(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> Any:
        raise ZeroDivisionError

    caplog.set_level(logging.CRITICAL)
    model, streamer = tiny_model(), Streamer()
    monkeypatch.setattr(rollback, place, fails)
    result, (run,) = acted_on([back()], model, streamer=streamer, **GREEDY)
    plain = generate(model, **GREEDY)
    if place == "continuation":
        assert torch.equal(result, plain[:, : PROMPT + ACTED + 1])
        assert [each.outcome for each in run.interventions] == ["failed"]
        assert (run.stop_reason, run.steps) == ("policy", ACTED + 1)
        assert_agree(run, result[0, PROMPT:])
    else:
        assert torch.equal(result, plain)
    assert streamer.ended == 1


def test_generators_draw_what_the_same_steps_draw() -> None:
    """A rollback draws from no generator itself: the second run of it is the same, all three generators included."""

    def run() -> list[Any]:
        random.seed(1)
        np.random.seed(1)
        result, _ = acted_on([back()], tiny_model(), **SAMPLED)
        return [result.tolist(), random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]

    assert run() == run()
