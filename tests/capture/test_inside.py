"""What is measured inside a model, against `output_hidden_states` and the weights of its own eager attention."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.run import SELF_SIGNALS
from tests.reference import cosine_reference, hidden_reference, layer_reference
from tests.support import (
    ARCHITECTURES,
    ENCODER_DECODERS,
    Keep,
    instrumented,
    padded_batch,
    prompt,
    sharpen,
    tiny_encoder_decoder,
    tiny_model,
)

NEW_TOKENS = 12
PADDING = {"one": (0,), "padded": (0, 3, 6)}
LAYERS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers", "t5": "decoder.block", "bart": "model.decoder.layers"}
OLD = transformers.__version__.startswith("4.")


@dataclass
class Truth:
    """What a generation says of itself, step by step."""

    tokens: torch.Tensor
    hidden: list[list[torch.Tensor]] = field(default_factory=list)
    """[step][layer]: the last position's output [B, D]."""
    attention: list[list[torch.Tensor]] = field(default_factory=list)
    """[step][layer]: the last query's weights [B, H, K]."""
    cross: list[list[torch.Tensor]] = field(default_factory=list)


def tell(model: Any, layers: str, **arguments: Any) -> Truth:
    """Generate with eager attention and every output switched on; the last layer's output comes from a hook."""
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    last: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        last.append((output[0] if isinstance(output, tuple) else output)[:, -1].clone())

    model.get_submodule(layers)[-1].register_forward_hook(keep)
    torch.manual_seed(3)
    result = model.generate(
        **arguments, return_dict_in_generate=True, output_hidden_states=True, output_attentions=True
    )
    decoder = "decoder_" if hasattr(result, "decoder_hidden_states") else ""
    truth = Truth(result.sequences)
    for step, hidden in enumerate(result[f"{decoder}hidden_states"]):
        truth.hidden.append([state[:, -1] for state in hidden[1:-1]] + [last[step]])
        truth.attention.append([weights[:, :, -1] for weights in result[f"{decoder}attentions"][step]])
        if decoder:
            truth.cross.append([weights[:, :, -1] for weights in result.cross_attentions[step]])
    return truth


def measure(model: Any, options: dict[str, Any] | None = None, **arguments: Any) -> tuple[list[Run], torch.Tensor]:
    keep = Keep()
    with instrumented(judgements=[keep], **{"attention_every": 1, **(options or {})}):
        torch.manual_seed(3)
        tokens = model.generate(**arguments)
    return keep.runs, tokens


def same(found: float, expected: float, tolerance: float = 1e-5) -> bool:
    return math.isnan(expected) == math.isnan(found) and (
        math.isnan(expected) or abs(found - expected) <= tolerance * max(1.0, abs(expected))
    )


def assert_hidden(run: Run, row: int, truth: Truth, tolerance: float = 1e-5) -> None:
    for step in range(run.steps):
        states = [state[row].double().tolist() for state in truth.hidden[step]]
        for layer, state in enumerate(states):
            for name, expected in hidden_reference(state).items():
                found = float(run.columns[name][step, layer])
                assert same(found, expected, tolerance), (name, step, layer, found, expected)
            transformation = 1 - cosine_reference(state, states[layer - 1]) if layer else math.nan
            assert same(float(run.columns["layer_transformation"][step, layer]), transformation, tolerance)
        before = truth.hidden[step - 1][-1][row].double().tolist() if step else None
        expected = math.nan if before is None else cosine_reference(states[-1], before)
        assert same(float(run.columns["hidden_cosine"][step]), expected, tolerance)


def visible(weights: torch.Tensor, *, length: int, padding: int, window: int | None) -> list[list[float]]:
    """Return each head's weights on the keys that the last query of a sequence of `length` sees."""
    keys = weights.shape[-1]
    first = max(0, length - keys)  # a sliding cache holds the last keys only, a static one empty places at its end
    columns = [
        column
        for column in range(min(keys, length))
        if first + column >= padding and (window is None or length - 1 - (first + column) < window)
    ]
    return weights[:, columns].double().tolist()


def window_of(config: Any, layer: int) -> int | None:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return config.sliding_window if kinds[layer] == "sliding_attention" else None
    return getattr(config, "sliding_window", None)


def assert_attention(run: Run, row: int, truth: Truth, config: Any, length: int, padding: int) -> None:
    for step in range(run.steps):
        for layer, weights in enumerate(truth.attention[step]):
            heads = visible(weights[row], length=length + step, padding=padding, window=window_of(config, layer))
            expected = layer_reference(heads, step)
            for name in SELF_SIGNALS:
                found = float(run.columns[name][step, layer])
                assert same(found, expected[name]), (name, step, layer, found, expected[name])


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("padded", ["one", "padded"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hidden_states_and_attention_equal_those_of_the_model(architecture: str, padded: str, cache: str) -> None:
    model = sharpen(tiny_model(architecture))
    if architecture == "gemma2" and OLD:  # SDPA of transformers 4 ignores the soft-cap
        for layer in model.model.layers:
            layer.self_attn.attn_logit_softcapping = None
    # Transformers 5 refuses SDPA to a model with a soft-cap.
    model.set_attn_implementation("eager" if architecture == "gemma2" and not OLD else "sdpa")
    inputs = padded_batch() if padded == "padded" else {"input_ids": prompt(9)}
    arguments = {**inputs, "max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None}
    if cache == "static":
        arguments["cache_implementation"] = "static"
    truth = tell(model, LAYERS.get(architecture, "model.layers"), **arguments)
    runs, tokens = measure(model, **arguments)
    assert torch.equal(tokens, truth.tokens), "the comparison needs the same tokens"
    for row, run in enumerate(runs):
        assert run.steps == NEW_TOKENS
        assert "attention" not in run.absent
        assert_hidden(run, row, truth)
        assert_attention(run, row, truth, model.config, 9, PADDING[padded][row])


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ENCODER_DECODERS)
def test_encoder_decoders_equal_too_with_their_cross_attention(
    architecture: str, implementation: str, cache: str
) -> None:
    if architecture == "t5" and OLD and implementation == "sdpa":
        pytest.skip("T5 of transformers 4 knows eager attention only")
    model = sharpen(tiny_encoder_decoder(architecture))
    model.set_attn_implementation(implementation)
    ids, mask = prompt(9, batch=2), torch.ones(2, 9, dtype=torch.long)
    ids[1, 5:], mask[1, 5:] = 0, 0
    arguments: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": mask,
        "max_new_tokens": NEW_TOKENS,
        "do_sample": False,
        "eos_token_id": None,
    }
    if cache == "static":
        arguments["cache_implementation"] = "static"
    truth = tell(model, LAYERS[architecture], **arguments)
    runs, tokens = measure(model, **arguments)
    assert torch.equal(tokens, truth.tokens), "the comparison needs the same tokens"
    for row, run in enumerate(runs):
        assert_hidden(run, row, truth)
        assert_attention(run, row, truth, model.config, 1, 0)
        for step in range(run.steps):
            for layer, weights in enumerate(truth.cross[step]):
                expected = layer_reference(weights[row][:, : (9, 5)[row]].double().tolist(), 0)
                for name in ("attention_entropy", "attention_entropy_std", "attention_max_weight"):
                    assert same(float(run.columns[f"cross_{name}"][step, layer]), expected[name]), (name, step, layer)
