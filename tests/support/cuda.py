"""Models on a GPU, and how often a block waits for it."""

import warnings
from typing import Any

import torch

from tests.support.tiny_models import prompt


def cuda(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.cuda() for name, tensor in inputs.items()}


def synchronisations(model: Any, steps: int) -> int:
    """Return how often a call made the host wait for the device."""
    model.generate(prompt().cuda(), max_new_tokens=steps, do_sample=True, eos_token_id=None)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.generate(prompt().cuda(), max_new_tokens=steps, do_sample=True, eos_token_id=None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)
