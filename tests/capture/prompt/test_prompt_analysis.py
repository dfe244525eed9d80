"""What is told of a prompt, against hidden states, logits and eager attention of the model itself."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital.run import PromptAnalysis, Run
from tests.support.model_internals import LAYERS, measure, same, window_of
from tests.support.prompt_reference import (
    PromptTruth,
    basin_reference,
    connections_reference,
    surprisal_reference,
    tell_prompt,
    transformation_reference,
)
from tests.support.tiny_models import (
    ARCHITECTURES,
    ENCODER_DECODERS,
    TRANSFORMERS_4,
    padded_batch,
    prompt,
    sharpen,
    tiny_encoder_decoder,
    tiny_model,
)

FULL = {"prompt_analysis": "full"}


def generate(model: Any, mode: str = "full", **arguments: Any) -> list[Run]:
    given = {"max_new_tokens": 2, "do_sample": False, "eos_token_id": None, **arguments}
    return measure(model, {"prompt_analysis": mode}, **given)[0]


def analysis_of(run: Run) -> PromptAnalysis:
    assert run.prompt_analysis is not None
    return run.prompt_analysis


def assert_prompt(found: PromptAnalysis, truth: PromptTruth, row: int, config: Any, real: list[int], ids: Any) -> None:
    expected = surprisal_reference(truth.logits[row], ids, real)
    assert found.surprisal is not None
    assert found.layer_transformation is not None
    assert len(found.surprisal) == len(expected) == len(real) - 1
    assert np.allclose(found.surprisal, expected, atol=2e-5)
    assert same(found.surprisal_mean or 0.0, math.fsum(expected) / len(expected))
    assert same(found.surprisal_max or 0.0, max(expected))
    assert found.surprising is not None
    order = sorted(range(len(expected)), key=lambda at: -expected[at])[:10]
    assert [float(found.surprisal[at - 1]) for at in found.surprising] == [float(found.surprisal[at]) for at in order]
    changes = transformation_reference([state[row] for state in truth.hidden], real)
    assert all(same(float(a), b) for a, b in zip(found.layer_transformation, changes, strict=True))
    assert_attention(found, truth, row, config, real)


def assert_attention(found: PromptAnalysis, truth: PromptTruth, row: int, config: Any, real: list[int]) -> None:
    assert found.basin is not None
    assert found.connections is not None
    assert found.basin.shape == (len(truth.attention), truth.attention[0].shape[1])
    for layer, weights in enumerate(truth.attention):
        window = None if config.is_encoder_decoder else window_of(config, layer)
        for head, values in enumerate(weights[row].double().tolist()):
            expected = basin_reference(values, real, window)
            assert same(float(found.basin[layer, head]), expected), (layer, head, found.basin[layer, head], expected)
            largest = connections_reference(values, real, window)
            kept = found.connections.weight[layer, head]
            assert np.allclose(kept[: len(largest)], [weight for _, weight in largest], atol=1e-5)
            assert np.isnan(kept[len(largest) :]).all()
            by_index = {at: values[column] for at, column in enumerate(real)}
            index = found.connections.index[layer, head]
            assert (index[len(largest) :] == -1).all()
            assert len(set(index[: len(largest)].tolist())) == len(largest)
            for at, weight in zip(index[: len(largest)].tolist(), kept, strict=False):
                assert abs(by_index[at] - weight) < 1e-5


@pytest.mark.parametrize("kind", ["one", "padded", "long"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_told_of_a_prompt_equals_what_the_model_says(architecture: str, kind: str) -> None:
    model = sharpen(tiny_model(architecture))
    if architecture == "gemma2" and TRANSFORMERS_4:  # SDPA of transformers 4 ignores the soft-cap
        for layer in model.model.layers:
            layer.self_attn.attn_logit_softcapping = None
    # Transformers 5 refuses SDPA to a model with a soft-cap.
    model.set_attn_implementation("eager" if architecture == "gemma2" and not TRANSFORMERS_4 else "sdpa")
    inputs = padded_batch() if kind == "padded" else {"input_ids": prompt(40 if kind == "long" else 9)}
    truth = tell_prompt(model, LAYERS.get(architecture, "model.layers"), **inputs)
    ids = inputs["input_ids"]
    for row, run in enumerate(generate(model, **inputs)):
        padding = (0, 3, 6)[row] if kind == "padded" else 0
        found = analysis_of(run)
        assert (dict(found.absent), found.first) == ({}, 0)
        assert_prompt(found, truth, row, model.config, list(range(padding, ids.shape[1])), ids[row])


@pytest.mark.parametrize("architecture", ENCODER_DECODERS)
def test_of_an_encoders_prompt_cross_attention_tells_where_the_decoder_looks(architecture: str) -> None:
    model = sharpen(tiny_encoder_decoder(architecture))
    ids, mask = prompt(9, batch=2), torch.ones(2, 9, dtype=torch.long)
    ids[1, 5:], mask[1, 5:] = 0, 0
    truth = tell_prompt(model, LAYERS[architecture], ids, mask)
    for row, run in enumerate(generate(model, input_ids=ids, attention_mask=mask)):
        found = analysis_of(run)
        assert dict(found.absent) == dict.fromkeys(
            ("prompt_surprisal", "prompt_layer_transformation"), "an encoder reads the prompt"
        )
        assert_attention(found, truth, row, model.config, list(range((9, 5)[row])))
