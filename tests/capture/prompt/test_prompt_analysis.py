"""What is told of a prompt, against hidden states, logits and eager attention of the model itself."""

import pytest
import torch

from tests.support.model_internals import LAYERS
from tests.support.prompt_checks import analysis_of, assert_attention, assert_prompt, generate
from tests.support.prompt_reference import tell_prompt
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
