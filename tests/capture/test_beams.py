"""Beams: what is measured of each returned sequence is what a plain forward pass over it says, in float64."""

import copy
import math
from typing import Any, Final

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.run import CROSS_SIGNALS, HIDDEN_SIGNALS, SELF_SIGNALS
from tests.capture.test_inside import LAYERS, measure, same, window_of
from tests.reference import cosine_reference, hidden_reference, layer_reference
from tests.support import (
    padded_batch,
    prompt,
    reference_signals,
    sharpen,
    tiny_model,
)

NEW_TOKENS: Final = 10
LENGTHS: Final = {"one": (9,), "padded": (9, 6, 3)}
SEARCHES: Final[dict[str, dict[str, Any]]] = {
    "search": {"num_beams": 3, "do_sample": False, "num_return_sequences": 2},
    "sample": {"num_beams": 3, "do_sample": True, "num_return_sequences": 3, "temperature": 3.0},
}
ARCHITECTURES: Final = ("llama", "gpt2", "qwen3", "mistral", "gemma3", "gpt_neox")
TOLERANCE: Final = 2e-4
"""The model runs in float32, its reference in float64."""


def forward(model: Any, layers: str, **inputs: torch.Tensor) -> tuple[Any, list[torch.Tensor]]:
    """Run a model in float64 with eager attention; return its output, and every decoder layer's [positions, D]."""
    model = copy.deepcopy(model).double()
    model.set_attn_implementation("eager")
    states: list[torch.Tensor] = []
    for layer in model.get_submodule(layers):
        layer.register_forward_hook(
            lambda _module, _args, output: states.append((output[0] if isinstance(output, tuple) else output)[0])
        )
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True, output_attentions=True, use_cache=False)
    kept = output["decoder_hidden_states" if "decoder_hidden_states" in output else "hidden_states"]
    for state, ours in zip(kept[1:-1], states, strict=False):
        assert torch.equal(state[0], ours), "the hooks see what the model returns"
    return output, states


def expected_columns(
    model: Any, layers: str, run: Run, start: torch.Tensor, encoded: torch.Tensor | None = None
) -> dict[str, np.ndarray]:
    """Return every column of a run by its definition.

    Args:
        model: which has generated it.
        layers: where its layers are.
        run: for its tokens.
        start: ids [columns] that the decoder began with, without padding.
        encoded: ids [columns] of the encoder, without padding.
    """
    ids = torch.cat((start, torch.tensor(run.tokens[:-1].tolist(), dtype=torch.long)))[None]
    if encoded is None:
        output, states = forward(model, layers, input_ids=ids)
        attentions, crosses = output.attentions, ()
    else:
        output, states = forward(model, layers, input_ids=encoded[None], decoder_input_ids=ids)
        attentions, crosses = output.decoder_attentions, output.cross_attentions
    steps: list[dict[str, Any]] = []
    for step, token in enumerate(run.tokens.tolist()):
        at = len(start) - 1 + step
        row: dict[str, Any] = dict(reference_signals(output.logits[0, at].tolist(), token))
        vectors = [state[at].tolist() for state in states]
        hidden = [hidden_reference(vector) for vector in vectors]
        row |= {name: [layer[name] for layer in hidden] for name in HIDDEN_SIGNALS if name in hidden[0]}
        pairs = zip(vectors[1:], vectors, strict=False)
        row["layer_transformation"] = [math.nan, *(1 - cosine_reference(*pair) for pair in pairs)]
        before = states[-1][at - 1].tolist()
        row["hidden_cosine"] = cosine_reference(vectors[-1], before) if step else math.nan
        seen = [
            layer_reference(weights[0, :, at, _first(model.config, layer, at) : at + 1].tolist(), step)
            for layer, weights in enumerate(attentions)
        ]
        row |= {name: [layer[name] for layer in seen] for name in SELF_SIGNALS}
        over = [layer_reference(weights[0, :, at].tolist(), 0) for weights in crosses]
        if over:
            row |= {name: [layer[name.removeprefix("cross_")] for layer in over] for name in CROSS_SIGNALS}
        steps.append(row)
    return {name: np.array([row[name] for row in steps]) for name in steps[0]}


def _first(config: Any, layer: int, position: int) -> int:
    """Return the first key that a query sees."""
    window = window_of(config, layer)
    return 0 if window is None else max(0, position + 1 - window)


def assert_equal(run: Run, expected: dict[str, np.ndarray]) -> None:
    for name in ("hidden_states", "attention", "nonfinite", "entropy"):
        assert name not in run.absent, run.absent
    assert set(run.columns) - {"attention_previous_heads"} == set(expected)
    for name, values in expected.items():
        found = run.columns[name]
        assert found.shape == values.shape, name
        for place, value in np.ndenumerate(values):
            assert same(float(found[place]), float(value), TOLERANCE), (name, place, found[place], value)


def inputs_of(kind: str) -> dict[str, torch.Tensor]:
    return padded_batch() if kind == "padded" else {"input_ids": prompt(9)}


def ends_early(model: Any, inputs: dict[str, torch.Tensor], options: dict[str, Any], at: int = 4) -> dict[str, Any]:
    """Return the options with end tokens that beams of this model choose before the limit."""
    torch.manual_seed(3)
    ids = model.generate(**inputs, **options, max_new_tokens=NEW_TOKENS, eos_token_id=None)
    return {**options, "eos_token_id": sorted(set(ids[:, -NEW_TOKENS:][:, at].tolist()))}


@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_signal_is_that_of_a_plain_forward_pass(architecture: str, search: str, kind: str) -> None:
    model, layers = sharpen(tiny_model(architecture)), LAYERS.get(architecture, "model.layers")
    inputs = inputs_of(kind)
    options = ends_early(model, inputs, SEARCHES[search])
    runs, tokens = measure(model, {"capture": "full"}, **inputs, **options, max_new_tokens=NEW_TOKENS)
    returned = options["num_return_sequences"]
    assert len(runs) == len(tokens) == returned * len(LENGTHS[kind])
    for index, run in enumerate(runs):
        assert run.prompt_index == index // returned
        assert run.tokens.tolist() == tokens[index, 9 : 9 + run.steps].tolist()
        start = inputs["input_ids"][index // returned, 9 - LENGTHS[kind][index // returned] :]
        assert_equal(run, expected_columns(model, layers, run, start))
        assert run.risk is not None
    assert len({run.steps for run in runs}) > 1 or kind == "one", "of different lengths"
