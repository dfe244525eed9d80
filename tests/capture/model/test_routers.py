"""What routers of experts say, in float64 one number at a time, from a plain forward over each finished sequence."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.capture.attach import module_hooks
from opentelemetry_instrumentation_corevital.capture.model.routers import find_routers, router_numbers
from tests.support.in_memory import Keep, instrumented
from tests.support.model_internals import measure, one_by_one, same
from tests.support.router_reference import (
    _EXPERTS,
    assert_routers,
    model_with_experts,
    router_reference,
)
from tests.support.tiny_models import BOS, EOS, PAD, VOCABULARY, padded_batch, prompt, tiny_model

NEW_TOKENS = 10
OLD = transformers.__version__.startswith("4.")
UNTOLD_BY_OLD = ("deepseek_v3", "llama4", "gpt_oss")


def generated(model: Any, options: dict[str, Any] | None = None, **inputs: Any) -> tuple[list[Run], torch.Tensor]:
    return measure(model, options, **inputs, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None)


@pytest.mark.parametrize("backend", ["batched", "torch"])
@pytest.mark.parametrize("kind", list(_EXPERTS))
def test_routers_equal_a_plain_forward(kind: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if OLD and kind in UNTOLD_BY_OLD:
        pytest.skip("transformers 4 does not return its router logits")
    if backend == "torch":
        one_by_one(monkeypatch)
    model = model_with_experts(kind)
    # A state-space model's padding is not the same as none.
    inputs = {"input_ids": prompt(9)} if kind == "jamba" else padded_batch()
    runs, tokens = generated(model, **inputs)
    spread = [float(np.nanmax(run.columns["router_top1_prob"])) for run in runs]
    assert max(spread) > 0.5, "routers that prefer nothing show nothing"
    for run, row, padding in zip(runs, tokens, (0, 3, 6), strict=False):
        assert "router" not in run.absent
        assert_routers(model, run, row, padding)


@pytest.mark.parametrize("more", [{"use_cache": False}, {"cache_implementation": "static", "disable_compile": True}])
def test_other_caches(more: dict[str, Any]) -> None:
    model = model_with_experts("qwen3_moe", decoder_sparse_step=2)
    runs, tokens = generated(model, **padded_batch(), **more)
    for run, row, padding in zip(runs, tokens, (0, 3, 6), strict=True):
        assert_routers(model, run, row, padding)


def test_prompts_in_chunks_and_inference_mode() -> None:
    model = model_with_experts("mixtral")
    with torch.inference_mode():
        (run,), tokens = generated(model, input_ids=prompt(9), prefill_chunk_size=4)
    assert_routers(model, run, tokens[0], 0)


def test_an_encoder_decoder_has_those_of_its_decoder() -> None:
    config = transformers.SwitchTransformersConfig(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=32, num_heads=4, num_layers=4, num_decoder_layers=4,
        num_sparse_encoder_layers=2, num_sparse_decoder_layers=2, num_experts=4, expert_capacity=64,
        pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=BOS,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SwitchTransformersForConditionalGeneration(config).eval()
    (run,), tokens = generated(model, input_ids=prompt(9))
    routers = {at: block.layer[-1].mlp.router for at, block in enumerate(model.decoder.block) if block.is_sparse}
    seen: dict[int, torch.Tensor] = {}
    for at, router in routers.items():
        router.classifier.register_forward_hook(lambda _module, _args, output, at=at: seen.update({at: output}))
    with torch.no_grad():
        model(input_ids=prompt(9), decoder_input_ids=tokens[:, :-1], use_cache=False)
    assert sorted(seen) == np.flatnonzero(np.isfinite(run.columns["router_entropy"]).any(0)).tolist()
    for at, logits in seen.items():
        for step, row in enumerate(logits.view(NEW_TOKENS, -1).double().tolist()):
            for name, expected in router_reference(row).items():
                assert same(float(run.columns[name][step, at]), expected, 2e-5)


def test_the_definition_keeps_its_word_on_difficult_numbers() -> None:
    rows = [[3.0, 3.0, 3.0], [80.0, -80.0, 0.0], [-math.inf, 1.0, 2.0], [1e30, 1e29, 0.0], [-1.0, 0.3, 0.5]]
    found = router_numbers(torch.tensor([rows]))
    for name, values in found.items():
        for row, value in zip(rows, values[0].tolist(), strict=True):
            assert value == pytest.approx(router_reference(row)[name], abs=1e-6), (row, name)
    for row in ([math.nan, 1.0, 2.0], [math.inf, 1.0, 2.0], [-math.inf] * 3):
        assert all(math.isnan(float(values)) for values in router_numbers(torch.tensor([[row]])).values()), row


def test_probabilities_that_are_called_logits_are_not_made_flatter() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)) * 4
    logits[0, 0] = math.nan
    expected = router_numbers(logits)
    for name, values in router_numbers(torch.softmax(logits, -1)).items():
        assert torch.allclose(values, expected[name], atol=1e-5, equal_nan=True), name


@pytest.mark.skipif(OLD, reason="there it is the block's output, which others read")
@pytest.mark.parametrize("bad", [torch.zeros(9, 1), torch.zeros(8, 4), None], ids=["one expert", "tokens", "none"])
def test_what_is_no_router_logits_is_absent_with_a_reason(bad: Any) -> None:
    model = model_with_experts("mixtral")
    at = find_routers(model, list(model.model.layers))[0]
    router = model.model.layers[1].get_submodule(at.name)
    own = router.forward

    def other(*args: Any) -> Any:
        output = list(own(*args))
        output[0] = bad
        return tuple(output)

    router.forward = other
    (run,), _ = generated(model, input_ids=prompt(9))
    assert run.absent["router"] == "the routers' logits are not returned as one row of numbers for each token"
    assert run.column("router_entropy") is None
    assert run.column("hidden_l2_norm") is not None


def test_logits_that_are_changed_afterwards_are_absent() -> None:
    model = model_with_experts("mixtral")
    at = find_routers(model, list(model.model.layers))[0]
    outputs: list[torch.Tensor] = []
    router = model.model.layers[0].get_submodule(at.name)
    router.register_forward_hook(lambda _module, _args, output: outputs.append(at.pick(output)))

    def change(*_args: Any) -> None:
        outputs[-1].mul_(2.0)

    model.model.layers[1].register_forward_hook(change)
    (run,), _ = generated(model, input_ids=prompt(9))
    assert run.absent["router"] == "the routers' logits are changed before the step is over"


def test_weights_of_the_chosen_experts_are_no_logits() -> None:
    model = model_with_experts("gpt_oss")
    at = find_routers(model, list(model.model.layers))[0]
    weights, chosen = torch.tensor([[0.4, 0.0, 0.6]]), torch.tensor([[2, 0]])
    assert at.pick((weights, chosen)) is None
    if OLD:
        (run,), _ = generated(model, input_ids=prompt(9))
        assert run.absent["router"] == "the routers' logits are not returned as one row of numbers for each token"


def test_a_model_without_experts_says_nothing_of_routers() -> None:
    (run,), _ = generated(tiny_model(), input_ids=prompt(9))
    assert "router" not in run.absent
    assert not [name for name in run.columns if "router" in name]


def test_experts_whose_routers_cannot_be_told_are_absent_with_a_reason() -> None:
    model = tiny_model()
    model.config.num_experts = 8
    (run,), _ = generated(model, input_ids=prompt(9))
    assert run.absent["router"] == "the model does not say which of its modules are routers"


def test_selected_layers_only() -> None:
    model = model_with_experts("qwen3_moe", decoder_sparse_step=2)
    (run,), _ = generated(model, {"layers": "2,3"}, input_ids=prompt(9))
    assert np.flatnonzero(np.isfinite(run.columns["router_entropy"]).all(0)).tolist() == [3]
    (run,), _ = generated(model, {"layers": "0,2"}, input_ids=prompt(9))
    assert run.absent["router"] == "no layer that has it was selected"


def test_the_run_stays_what_it_is_and_the_model_copies() -> None:
    model = model_with_experts("mixtral")
    arguments = {**padded_batch(), "max_new_tokens": NEW_TOKENS, "do_sample": True}

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(1)
        return model.generate(**arguments), torch.get_rng_state()

    plain, state = run()
    with instrumented():
        watched, watched_state = run()
        other = pickle.loads(pickle.dumps(model))
        copied = copy.deepcopy(model)
        assert sum(map(has_hook, model.modules())) >= 2 * 4, "layers and routers"
    assert torch.equal(plain, watched)
    assert torch.equal(state, watched_state)
    assert not any(map(has_hook, model.modules()))
    assert not any(map(has_hook, [*other.modules(), *copied.modules()]))


def has_hook(module: torch.nn.Module) -> bool:
    return any(
        isinstance(hook, module_hooks.LayerHook | module_hooks.OutputHook) for hook in module._forward_hooks.values()
    )


def test_a_router_that_is_exchanged_is_found_again() -> None:
    model = model_with_experts("mixtral")
    keep = Keep()
    with instrumented(judgements=[keep]):
        model.generate(prompt(9), max_new_tokens=2)
        for layer in model.model.layers:
            name = next(name for name in ("mlp", "block_sparse_moe") if hasattr(layer, name))
            setattr(layer, name, copy.deepcopy(getattr(layer, name)))
        tokens = model.generate(prompt(9), max_new_tokens=NEW_TOKENS, eos_token_id=None)
    assert_routers(model, keep.runs[-1], tokens[0], 0)


def test_telemetry_names_the_layers_that_have_a_router() -> None:
    model = model_with_experts("qwen3_moe", decoder_sparse_step=2)
    with instrumented(capture="full") as telemetry:
        model.generate(prompt(9), max_new_tokens=NEW_TOKENS)
        gauge = telemetry.metrics()["corevital.layer.router_entropy"]
    attributes = telemetry.span.attributes or {}
    assert attributes["corevital.layers.router_index"] == (1, 3)
    entropies = attributes["corevital.layers.router_entropy"]
    assert isinstance(entropies, tuple)
    assert len(entropies) == 2
    assert "corevital.layers.router_top1_prob" in attributes
    assert "corevital.layers.norm_index" not in attributes, "the other layers are measured as before"
    assert [(dict(point.attributes)["corevital.layer"], point.value) for point in gauge] == list(
        zip((1, 3), entropies, strict=True)
    )
    step = next(event.attributes or {} for event in telemetry.span.events if event.name == "corevital.step")
    assert 0 <= step["corevital.step.router_entropy"] <= 1
