"""Prefills of every kind: what is told of a prompt is right there, or absent with a reason; and the run is the same."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CohereConfig, CohereForCausalLM, DynamicCache, GraniteConfig, GraniteForCausalLM

from opentelemetry_instrumentation_corevital.capture.attach.module_hooks import LastStatesHook
from opentelemetry_instrumentation_corevital.capture.prompt import surprisal
from opentelemetry_instrumentation_corevital.run import PromptAnalysis
from tests.support.in_memory import Keep, instrumented
from tests.support.model_internals import measure
from tests.support.prompt_reference import surprisal_reference, tell_prompt
from tests.support.tiny_models import padded_batch, prompt, sharpen, tiny_model

GIVEN = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
SURPRISAL, LAYERS, BASIN = "prompt_surprisal", "prompt_layer_transformation", "prompt_basin"
CONNECTIONS = "prompt_connections"
ALL = (SURPRISAL, LAYERS, BASIN, CONNECTIONS)


def analyses(model: Any, options: dict[str, Any] | None = None, **arguments: Any) -> list[PromptAnalysis]:
    runs, _ = measure(model, {"prompt_analysis": "full", **(options or {})}, **{**GIVEN, **arguments})
    found = [run.prompt_analysis for run in runs]
    assert None not in found
    return [each for each in found if each is not None]


def same_numbers(one: PromptAnalysis, other: PromptAnalysis) -> bool:
    if one.connections is None or other.connections is None:
        return False
    pairs = (
        (one.surprisal, other.surprisal),
        (one.layer_transformation, other.layer_transformation),
        (one.basin, other.basin),
        (one.connections.weight, other.connections.weight),
    )
    return all(a is not None and b is not None and np.allclose(a, b, atol=1e-5, equal_nan=True) for a, b in pairs)


@pytest.fixture(scope="module")
def model() -> Any:
    return sharpen(tiny_model())


@pytest.fixture(scope="module")
def plain(model: Any) -> PromptAnalysis:
    (found,) = analyses(model, input_ids=prompt(9))
    assert not found.absent
    return found


@pytest.mark.parametrize(
    "how",
    [
        {"num_return_sequences": 2, "do_sample": True},
        {"num_beams": 2},
        {"cache_implementation": "static"},
        {"use_cache": False},
        {"guidance_scale": 1.5},
        {"return_dict_in_generate": True, "output_scores": True, "output_logits": True},
        {"output_hidden_states": True, "return_dict_in_generate": True},
        {"custom_generate": lambda model, input_ids, **kwargs: model._sample(input_ids, **kwargs)},
    ],
    ids=lambda how: next(iter(how)),
)
def test_the_same_is_told_however_the_call_goes_on(how: dict[str, Any], model: Any, plain: PromptAnalysis) -> None:
    for found in analyses(model, input_ids=prompt(9), **how):
        assert same_numbers(found, plain)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("options", [{"attention_every": 0}, {"capture": "full"}], ids=str)
def test_the_same_is_told_whatever_else_is_measured(
    options: dict[str, Any], implementation: str, plain: PromptAnalysis
) -> None:
    model = sharpen(tiny_model())
    model.set_attn_implementation(implementation)
    (found,) = analyses(model, options, input_ids=prompt(9))
    assert same_numbers(found, plain)


def test_of_several_prompts_each_sequence_has_its_own(model: Any) -> None:
    alone = [analyses(model, input_ids=prompt(9, batch=3)[row : row + 1])[0] for row in range(3)]
    together = analyses(model, input_ids=prompt(9, batch=3), num_return_sequences=2, do_sample=True)
    assert len(together) == 6
    assert all(same_numbers(found, alone[at // 2]) for at, found in enumerate(together))
    assert not same_numbers(alone[0], alone[1])


def test_under_inference_mode_and_autocast_the_same_is_told(model: Any, plain: PromptAnalysis) -> None:
    with torch.inference_mode():
        (found,) = analyses(model, input_ids=prompt(9))
    assert same_numbers(found, plain)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = analyses(model, input_ids=prompt(9))
    assert found.surprisal is not None
    assert plain.surprisal is not None
    assert np.allclose(found.surprisal, plain.surprisal, atol=0.5), "three digits of the logits"


def test_a_conversation_that_goes_on_tells_of_its_new_part(model: Any, plain: PromptAnalysis) -> None:
    ids = prompt(9)
    cache = DynamicCache(config=model.config)
    model(ids[:, :5], past_key_values=cache, use_cache=True)
    (found,) = analyses(model, input_ids=ids, past_key_values=cache)
    assert (found.first, dict(found.absent)) == (5, {})
    assert plain.surprisal is not None
    assert found.surprisal is not None
    assert np.allclose(found.surprisal, plain.surprisal[5:], atol=1e-5)
    assert np.allclose(found.basin, plain.basin, atol=1e-5), "the last token sees the whole conversation"
    assert found.surprising is not None
    assert set(found.surprising.tolist()) == {6, 7, 8}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"prefill_chunk_size": 4}, "the prefill was not one pass"),
        ({"prompt_lookup_num_tokens": 2}, "not measured in decoding strategy assisted_generation"),
        ({"inputs_embeds": torch.zeros(1, 9, 32), "input_ids": None}, "the prompt has no token ids"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_told_is_absent_with_a_reason(how: dict[str, Any], reason: str, model: Any) -> None:
    arguments = {"input_ids": prompt(9), **how}
    (found,) = analyses(model, **{name: value for name, value in arguments.items() if value is not None})
    names = (SURPRISAL,) if "inputs_embeds" in how else ALL
    assert dict(found.absent) == dict.fromkeys(names, reason)
    assert found.surprisal is found.surprising is found.surprisal_mean is None
    if "inputs_embeds" not in how:
        assert found.layer_transformation is found.basin is found.connections is None


def test_of_a_compiled_model_no_more_is_told_than_what_leaves_its_graph() -> None:
    model = sharpen(tiny_model())
    (plain,) = analyses(model, input_ids=prompt(9))
    model.model.forward = torch.compile(model.model.forward, backend="eager")
    (found,) = analyses(model, input_ids=prompt(9))
    assert dict(found.absent) == dict.fromkeys((LAYERS, BASIN, CONNECTIONS), "compiled")
    assert np.allclose(found.surprisal, plain.surprisal, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 2])
def test_a_short_prompt_has_no_middle(tokens: int, model: Any) -> None:
    (found,) = analyses(model, input_ids=prompt(tokens))
    assert dict(found.absent) == {BASIN: "the prompt is too short"}
    assert found.surprisal is not None
    assert len(found.surprisal) == tokens - 1
    assert (found.surprisal_mean is None) == (tokens == 1)
    assert found.connections is not None
    assert ((found.connections.index >= 0).sum(-1) == tokens).all()


def test_layers_that_are_not_looked_at_are_left_out() -> None:
    model = sharpen(tiny_model(num_hidden_layers=4))
    (found,) = analyses(model, {"layers": "1,3"}, input_ids=prompt(9))
    assert found.layer_transformation is not None
    assert found.basin is not None
    assert np.isnan(found.layer_transformation).tolist() == [True, False, True, False]
    assert np.isnan(found.basin).all(1).tolist() == [True, False, True, False]


# --- the output head ------------------------------------------------------------------------------------------------

_TINY = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    "made",
    [
        lambda: CohereForCausalLM(CohereConfig(**_TINY, logit_scale=0.5)),
        lambda: GraniteForCausalLM(GraniteConfig(**_TINY, logits_scaling=8.0, embedding_multiplier=12.0)),
    ],
    ids=["cohere", "granite"],
)
def test_logits_that_a_model_scales_are_scaled(made: Any) -> None:
    torch.manual_seed(0)
    model = made().eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20.0)
    ids = prompt(9)
    truth = tell_prompt(model, "model.layers", ids)
    (found,) = analyses(model, input_ids=ids)
    assert np.allclose(found.surprisal, surprisal_reference(truth.logits[0], ids[0], list(range(9))), atol=1e-4)


class Head(torch.nn.Linear):
    """A head that is more than its matrix."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden) * 2.0


def test_a_head_that_is_no_plain_matrix_is_left_alone() -> None:
    model = tiny_model()
    head = Head(32, 128, bias=False)
    head.weight = model.lm_head.weight
    model.lm_head = head
    (found,) = analyses(model, input_ids=prompt(9))
    assert dict(found.absent) == {SURPRISAL: "the model's output head is not one plain matrix"}


def test_logits_that_are_not_what_the_head_makes_are_found_out() -> None:
    model = tiny_model()
    model.lm_head.register_forward_hook(lambda _module, _args, output: output * 1.01)
    (found,) = analyses(model, input_ids=prompt(9))
    told = "the model's logits are not what its output head makes of the last hidden state"
    assert dict(found.absent) == {SURPRISAL: told}


def test_nobodys_hooks_see_the_heads_work() -> None:
    model, calls = tiny_model(), list[torch.Size]()
    model.lm_head.register_forward_hook(lambda _module, args, _output: calls.append(args[0].shape))
    analyses(model, input_ids=prompt(9))
    assert len(calls) == GIVEN["max_new_tokens"]


@pytest.mark.parametrize("budget", [1, 128 * 8 * 5])
def test_some_positions_at_a_time_give_the_same(budget: int, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = analyses(model, **padded_batch())
    monkeypatch.setattr(surprisal, "SLICE_BYTES", budget)
    shapes: list[torch.Size] = []
    made = surprisal.surprisal

    def count(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        shapes.append(logits.shape)
        return made(logits, tokens)

    monkeypatch.setattr(surprisal, "surprisal", count)
    parts = analyses(model, **padded_batch())
    assert all(same_numbers(one, other) for one, other in zip(whole, parts, strict=True))
    assert max(rows for rows, _ in shapes) == (1 if budget == 1 else 3), "a multiple of the rows within the budget"
    assert sum(rows for rows, _ in shapes) == 3 * 8


def test_layers_that_change_what_they_returned_are_found_out_and_then_copied() -> None:
    model = sharpen(tiny_model(num_hidden_layers=3))
    (plain,) = analyses(model, input_ids=prompt(9))

    class InPlace(torch.nn.Module):
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer, self.self_attn = layer, layer.self_attn

        def forward(self, hidden: torch.Tensor, **more: Any) -> torch.Tensor:
            return hidden.copy_(self.layer(hidden.clone(), **more))

    for at in range(3):
        model.model.layers[at] = InPlace(model.model.layers[at])
    keep = Keep()
    with instrumented(judgements=[keep], prompt_analysis="full"):
        for _ in range(2):
            model.generate(prompt(9), **GIVEN)
    first, second = (run.prompt_analysis for run in keep.runs)
    assert first is not None
    assert second is not None
    assert first.absent.get(LAYERS) == "the layers' outputs are changed before the step is over"
    assert np.allclose(second.layer_transformation, plain.layer_transformation, atol=1e-5, equal_nan=True)


# --- the run is the same --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["summary", "full"])
def test_the_run_is_the_same_with_it(mode: str, model: Any) -> None:
    arguments = {**padded_batch(), "max_new_tokens": 6, "do_sample": True, "eos_token_id": None, "output_scores": True}

    def generated() -> tuple[Any, ...]:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        found = model.generate(**arguments, return_dict_in_generate=True)
        return found.sequences, torch.stack(found.scores), torch.rand(1), np.random.rand(), random.random()

    before = generated()
    with instrumented(prompt_analysis=mode):
        watched = generated()
    for own, other in zip(before, watched, strict=True):
        assert torch.equal(torch.as_tensor(own), torch.as_tensor(other))
    assert model.config._attn_implementation == "sdpa"


def test_off_is_nothing_at_all(model: Any) -> None:
    fresh = tiny_model()
    runs, _ = measure(fresh, {}, input_ids=prompt(9), **GIVEN)
    assert runs[0].prompt_analysis is None
    with pytest.raises(ValueError, match="prompt_analysis is off"):
        runs[0].top_connections()
    with instrumented():
        fresh.generate(prompt(9), **GIVEN)
        assert not any(isinstance(hook, LastStatesHook) for hook in fresh.model._forward_hooks.values())
    with instrumented(prompt_analysis="summary"):
        fresh.generate(prompt(9), **GIVEN)
        assert any(isinstance(hook, LastStatesHook) for hook in fresh.model._forward_hooks.values())
    assert not fresh.model._forward_hooks


def test_an_error_of_ours_loses_the_prompt_alone(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(surprisal, "surprisal", fails)
    runs, _ = measure(model, {"prompt_analysis": "full"}, input_ids=prompt(9), **GIVEN)
    (run,) = runs
    assert run.prompt_analysis is not None
    assert set(run.prompt_analysis.absent.values()) == {"internal error (OutOfMemoryError)"}
    assert not {"hidden_states", "attention"} & set(run.absent)
    assert "capture.prompt" in caplog.text


@pytest.mark.parametrize("step", [0, 1])
def test_of_a_call_that_fails_the_prompt_is_told_if_it_was_read(step: int, model: Any, plain: PromptAnalysis) -> None:
    def fails(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if ids.shape[1] == 9 + step:
            raise RuntimeError("no more")
        return scores

    keep = Keep()
    with instrumented(judgements=[keep], prompt_analysis="full"), pytest.raises(RuntimeError, match="no more"):
        model.generate(prompt(9), logits_processor=[fails], **GIVEN)
    (run,) = keep.runs
    assert run.prompt_analysis is not None
    assert same_numbers(run.prompt_analysis, plain)


def test_of_a_call_that_fails_before_nothing_is_told(model: Any) -> None:
    keep = Keep()

    def fails(_module: Any, _args: Any) -> None:
        raise RuntimeError("no more")

    hook = model.model.layers[1].register_forward_pre_hook(fails)
    try:
        with instrumented(judgements=[keep], prompt_analysis="full"), pytest.raises(RuntimeError, match="no more"):
            model.generate(prompt(9), **GIVEN)
    finally:
        hook.remove()
    (run,) = keep.runs
    assert run.prompt_analysis is not None
    assert set(run.prompt_analysis.absent.values()) == {"no step was observed"}


def test_summary_keeps_no_connections(model: Any) -> None:
    (found,) = analyses(model, {"prompt_analysis": "summary"}, input_ids=prompt(9))
    assert dict(found.absent) == {CONNECTIONS: "switched off (prompt_analysis=summary)"}
    with pytest.raises(ValueError, match="prompt_analysis=summary"):
        found.top_connections()


def test_who_attends_to_a_token_is_told(model: Any, plain: PromptAnalysis) -> None:
    top = plain.top_connections(5)
    assert [each.weight for each in top] == sorted((each.weight for each in plain.top_connections(None)), reverse=True)[
        :5
    ]
    (run,), _ = measure(model, {"prompt_analysis": "full"}, input_ids=prompt(9), **GIVEN)
    assert run.top_connections(1)[0]._replace(weight=0.0) == top[0]._replace(weight=0.0)
    to = run.attention_to(top[0].token)
    assert (to[0].layer, to[0].head) == (top[0].layer, top[0].head)
    assert {each.token for each in to} == {top[0].token}
    assert plain.basin is not None
    scores = plain.basin_by_layer()
    assert np.allclose(scores, plain.basin.mean(1))
    assert plain.neglected_layers(1e9) == np.argsort(scores).tolist()
    assert plain.neglected_layers(0.0) == []
