"""Faults that can be planted in a layer of any decoder of the zoo: each a context manager that takes itself out again.

A fault sits inside a layer (in what its feed-forward block adds, in its weights, its queries or its part of the
cache), so whatever listens to the layer's output sees it, and the layer is where it began.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch

STEP: Final = 16
"""Step at which the faults that begin in mid-run do."""

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Fault:
    """How a fault is planted in a layer of a model, and the step at which it begins."""

    plant: Callable[[Any, int], AbstractContextManager[None]]
    step: int = STEP


def layers(model: Any) -> Any:
    """Return a model's decoder layers."""
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def attention(layer: Any) -> Any:
    """Return a layer's self-attention."""
    return layer.attn if hasattr(layer, "attn") else layer.self_attn


def last_part(layer: Any) -> Any:
    """Return the module whose output a layer adds last: its feed-forward block, or the norm after that."""
    for name in ("post_feedforward_layernorm", "mlp", "block_sparse_moe"):
        if hasattr(layer, name):
            return getattr(layer, name)
    raise TypeError(f"{type(layer).__name__} has no feed-forward block that is known here")


@contextmanager
def hooked(register: Callable[[], Any]) -> Iterator[None]:
    """Keep a hook for a block."""
    handle = register()
    try:
        yield
    finally:
        handle.remove()


def changed_output(model: Any, layer: int, change: Change, *, lasting: bool = False) -> AbstractContextManager[None]:
    """Change what a layer adds last, at step `STEP` or from it on."""
    calls = 0

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= STEP or (calls > STEP + 1 and not lasting):
            return output
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    return hooked(lambda: last_part(layers(model)[layer]).register_forward_hook(hook))


@contextmanager
def scaled_weights(model: Any, layer: int, factor: float) -> Iterator[None]:
    """Multiply all matrices of a layer."""
    matrices = [weight for weight in layers(model)[layer].parameters() if weight.ndim >= 2]
    saved = [weight.detach().clone() for weight in matrices]
    with torch.no_grad():
        for weight in matrices:
            weight.mul_(factor)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(matrices, saved, strict=True):
                weight.copy_(before)


def changed_cache(model: Any, layer: int, change: Change) -> AbstractContextManager[None]:
    """Overwrite a layer's cached keys and values before step `STEP`."""
    calls = 0

    def hook(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        if calls == STEP + 1:
            cached = kwargs["past_key_values"].layers[layer]
            cached.keys.copy_(change(cached.keys))
            cached.values.copy_(change(cached.values))

    return hooked(lambda: attention(layers(model)[layer]).register_forward_pre_hook(hook, with_kwargs=True))


def sharpened_queries(model: Any, layer: int, factor: float = 40.0) -> AbstractContextManager[None]:
    """Multiply a layer's queries from step `STEP` on: its attention collapses onto single keys."""
    block, calls = attention(layers(model)[layer]), 0

    def hook(module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls <= STEP:
            return output
        output = output.clone()
        output[..., : output.shape[-1] // 3 if module is getattr(block, "c_attn", None) else None] *= factor
        return output

    # A norm of queries would take a factor before it back.
    names = ("q_norm", "q_proj", "c_attn")
    module = next(getattr(block, name) for name in names if hasattr(block, name))
    return hooked(lambda: module.register_forward_hook(hook))


def one_value(value: float) -> Change:
    """Return a change that sets one value of the last position."""

    def change(output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, -1, 7] = value
        return output

    return change


def overflow(output: torch.Tensor) -> torch.Tensor:
    """Return the output as float16 would hold it after a scale that is too large: its largest values are infinite."""
    largest = output[:, -1].abs().amax(-1)[:, None, None].float()
    return (output.float() * (2 * 65504 / largest)).half().to(output.dtype)


def noise(kept: torch.Tensor) -> torch.Tensor:
    """Return noise of the same spread: what is read from memory that somebody else has written to."""
    drawn = torch.randn(kept.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return (drawn.to(kept.device) * kept.float().std() * 2).to(kept.dtype)


FAULTS: Final = {
    "NaN": Fault(lambda model, layer: changed_output(model, layer, one_value(torch.nan))),
    "Inf": Fault(lambda model, layer: changed_output(model, layer, one_value(torch.inf))),
    "float16 overflow": Fault(lambda model, layer: changed_output(model, layer, overflow, lasting=True)),
    "weights x 8": Fault(lambda model, layer: scaled_weights(model, layer, 8.0), step=0),
    "zeroed layer": Fault(lambda model, layer: scaled_weights(model, layer, 0.0), step=0),
    "cache of noise": Fault(lambda model, layer: changed_cache(model, layer, noise)),
    "cache of zeros": Fault(lambda model, layer: changed_cache(model, layer, torch.zeros_like)),
    "output x 16 for a step": Fault(lambda model, layer: changed_output(model, layer, lambda output: 16 * output)),
    "queries x 40": Fault(sharpened_queries),
}
"""By name."""
