"""CUDA: what is inside a model, against its own eager attention and against the CPU. Skipped where there is no GPU."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.capture.attention.scores import products
from tests.support.cuda import cuda, synchronisations
from tests.support.in_memory import Keep, instrumented
from tests.support.model_internals import LAYERS, PADDING, assert_attention, assert_hidden, measure, tell
from tests.support.tiny_models import ARCHITECTURES, padded_batch, prompt, sharpen, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ARGUMENTS: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "gemma2"])
def test_hidden_states_and_attention_equal_those_of_the_model(architecture: str) -> None:
    model = sharpen(tiny_model(architecture)).cuda()
    model.set_attn_implementation("sdpa")
    arguments = {**cuda(padded_batch()), **ARGUMENTS}
    truth = tell(model, LAYERS.get(architecture, "model.layers"), **arguments)
    runs, tokens = measure(model, **arguments)
    assert torch.equal(tokens, truth.tokens)
    for row, run in enumerate(runs):
        # Kernels of eager and of SDPA attention add in another order: the layers above see it.
        assert_hidden(run, row, truth, 1e-4)
        assert_attention(run, row, truth, model.config, 9, PADDING["padded"][row], 1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_added_up_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 8, 128, device="cuda").to(dtype), torch.randn(2, 4, 4096, 128, device="cuda").to(dtype)
    exact = query.double().view(2, 4, 2, 128) @ key.double().transpose(-1, -2)
    assert torch.allclose(products(query, key).double(), exact.reshape(2, 8, 4096), rtol=1e-5, atol=1e-4)


def test_tf32_and_deterministic_algorithms_leave_the_numbers_alone() -> None:
    model = sharpen(tiny_model()).cuda()
    arguments = {**cuda(padded_batch()), **ARGUMENTS}
    plain, _ = measure(model, **arguments)
    torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        strict, _ = measure(model, **arguments)
    finally:
        torch.use_deterministic_algorithms(False)
    for run, other in zip(strict, plain, strict=True):
        assert "attention" not in run.absent
        assert np.allclose(run.columns["attention_entropy"], other.columns["attention_entropy"], atol=1e-5)
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        keep = Keep()
        with instrumented(judgements=[keep], attention_every=1):
            result = model.generate(**arguments, return_dict_in_generate=True, output_logits=True)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    for row, run in enumerate(keep.runs):
        for step in range(run.steps):
            p = result.logits[step][row].double().softmax(-1)
            bits = float(torch.special.entr(p).sum() / np.log(2))
            assert run.columns["entropy"][step] == pytest.approx(bits, abs=1e-5)


def compiled(model: Any, watched: bool) -> tuple[torch.Tensor, int, list[Run]]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    keep = Keep()
    arguments = {"input_ids": prompt().cuda(), **ARGUMENTS, "cache_implementation": "static"}
    model = copy.deepcopy(model)

    def twice() -> torch.Tensor:
        model.generate(**arguments)
        tokens: torch.Tensor = model.generate(**arguments)
        return tokens

    if watched:
        with instrumented(judgements=[keep], attention_every=1):
            tokens = twice()
    else:
        tokens = twice()
    return tokens, int(torch._dynamo.utils.counters["stats"]["unique_graphs"]), keep.runs


def test_a_static_cache_compiles_the_same_graphs_and_what_is_inside_is_absent() -> None:
    model = sharpen(tiny_model()).cuda()
    plain, plain_graphs, _ = compiled(model, watched=False)
    tokens, graphs, runs = compiled(model, watched=True)
    assert plain_graphs > 0
    assert graphs == plain_graphs
    assert torch.equal(tokens, plain)
    for run in runs:
        assert run.absent["hidden_states"] == run.absent["attention"] == "compiled"
        assert np.isfinite(run.columns["entropy"]).all()


def test_looking_inside_at_every_step_adds_no_wait_for_the_device() -> None:
    model = tiny_model().cuda()
    plain = synchronisations(model, 60) - synchronisations(model, 20)
    with instrumented(capture="full"):
        watched = synchronisations(model, 60) - synchronisations(model, 20)
    assert plain > 0
    assert watched == plain


def test_memory_of_the_device_does_not_grow_with_steps_or_with_the_prompt() -> None:
    model = tiny_model(num_hidden_layers=8, hidden_size=256, max_position_embeddings=4096).cuda()

    def peak(length: int, steps: int) -> int:
        torch.cuda.reset_peak_memory_stats()
        model.generate(prompt(length).cuda(), max_new_tokens=steps, do_sample=False, eos_token_id=None)
        return torch.cuda.max_memory_allocated()

    peak(8, 4)
    plain = peak(3000, 4), peak(8, 400)
    with instrumented(capture="full"):
        peak(8, 4)
        watched = peak(3000, 4), peak(8, 400)
    # Scores of 8 layers x 4 heads x 3,000 keys in float32, some copies of them while they are reduced.
    assert watched[0] - plain[0] < 16 * 8 * 4 * 3000 * 4
    assert watched[1] - plain[1] < 4 * 1024 * 1024


def test_layers_on_two_devices() -> None:
    """Two layers run on the CPU and two on the GPU; accelerate carries the hidden states across."""
    accelerate = pytest.importorskip("accelerate")
    model = sharpen(tiny_model(num_hidden_layers=4))
    arguments = {**padded_batch(), **ARGUMENTS}
    expected, tokens = measure(model, **arguments)
    places: dict[str, Any] = {f"model.layers.{layer}": "cpu" if layer < 2 else 0 for layer in range(4)}
    places |= {"model.embed_tokens": "cpu", "model.norm": 0, "model.rotary_emb": "cpu", "lm_head": 0}
    split = accelerate.dispatch_model(copy.deepcopy(model), device_map=places, main_device="cpu")
    devices = {parameter.device.type for layer in split.model.layers for parameter in layer.parameters()}
    runs, found = measure(split, **arguments)
    assert "cuda" in devices
    assert torch.equal(found.cpu(), tokens)
    for run, other in zip(runs, expected, strict=True):
        for name, values in other.columns.items():
            assert np.allclose(run.columns[name], values, rtol=1e-3, atol=1e-4, equal_nan=True), name
