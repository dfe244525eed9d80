"""CUDA: beams are the same with their numbers measured, by the kernels and by torch, and no step waits for longer."""

import warnings
from typing import Any

import pytest
import torch

from tests.support.beam_reference import SEARCHES, compare, ends_early
from tests.support.identity import assert_same, observe
from tests.support.in_memory import instrumented
from tests.support.tiny_models import padded_batch, sharpen, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def cuda(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.cuda() for name, tensor in inputs.items()}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_every_signal_is_that_of_a_plain_forward_pass(search: str, kernels: str) -> None:
    model, inputs = sharpen(tiny_model()).cuda(), cuda(padded_batch())
    compare(model, "model.layers", inputs, ends_early(model, inputs, SEARCHES[search]), kernels=kernels)


@pytest.mark.parametrize("search", SEARCHES)
def test_tokens_scores_and_generators_are_bit_identical(search: str) -> None:
    model, inputs = tiny_model().cuda(), cuda(padded_batch())
    options = {**SEARCHES[search], "return_dict_in_generate": True, "output_scores": True, "output_logits": True}

    def outcome() -> Any:
        return observe(lambda: model.generate(**inputs, max_new_tokens=14, **options))

    outcome()
    plain = outcome()
    with instrumented(capture="full"):
        for _ in range(2):  # what is made once: kernels are compiled for the plan, too, which the first call makes
            outcome()
        assert_same(outcome(), plain)


def synchronisations(model: Any, steps: int) -> int:
    """Return how often a beam search of so many steps waits for the device."""
    inputs = cuda(padded_batch())
    options: dict[str, Any] = {"num_beams": 3, "max_new_tokens": steps, "eos_token_id": None, "early_stopping": "never"}
    model.generate(**inputs, **options)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.generate(**inputs, **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def test_no_step_adds_a_wait_for_the_device() -> None:
    model = tiny_model().cuda()
    plain = synchronisations(model, 30) - synchronisations(model, 10)
    assert plain > 0, "the count works: the search itself waits at every step"
    with instrumented(capture="full"):
        assert synchronisations(model, 30) - synchronisations(model, 10) == plain
