"""Faults that can be planted in a decoder of the Llama family: each a context manager that takes itself out again.

A fault sits inside a layer (in its feed-forward block, its weights or its part of the cache), so whatever listens to
the layer's output sees it, and the layer is where it began.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .store import STEP

Change = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def changed_output(model: Any, layer: int, change: Change, *, lasting: bool = False) -> Iterator[None]:
    """Change what the feed-forward block of a layer adds, at step `STEP` or from it on."""
    calls = 0

    def hook(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return change(output) if calls == STEP + 1 or (lasting and calls > STEP) else output

    handle = model.model.layers[layer].mlp.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def scaled_weights(model: Any, layer: int, factor: float) -> Iterator[None]:
    """Multiply all matrices of a layer."""
    matrices = [weight for weight in model.model.layers[layer].parameters() if weight.ndim == 2]
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


@contextmanager
def changed_cache(model: Any, layer: int, change: Change) -> Iterator[None]:
    """Overwrite a layer's cached keys and values before step `STEP`."""
    calls = 0

    def hook(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        if calls == STEP + 1:
            cached = kwargs["past_key_values"].layers[layer]
            cached.keys.copy_(change(cached.keys))
            cached.values.copy_(change(cached.values))

    handle = model.model.layers[layer].self_attn.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def sharpened_queries(model: Any, layers: tuple[int, ...], factor: float = 40.0) -> Iterator[None]:
    """Multiply the queries of layers from step `STEP` on: their attention collapses onto single keys."""
    calls = dict.fromkeys(layers, 0)

    def sharpen(layer: int) -> Callable[..., torch.Tensor]:
        def hook(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
            calls[layer] += 1
            return output * factor if calls[layer] > STEP else output

        return hook

    handles = [model.model.layers[layer].self_attn.q_proj.register_forward_hook(sharpen(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def one_value(value: float) -> Change:
    """Return a change that sets one value of the last position."""

    def change(output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, -1, 7] = value
        return output

    return change


def overflow(output: torch.Tensor) -> torch.Tensor:
    """Return the output as float16 would hold it after a scale that is too large: its largest values are infinite."""
    largest = output[:, -1].abs().amax(-1)[:, None, None]
    return (output * (2 * 65504 / largest)).half().to(output.dtype)


def noise(kept: torch.Tensor) -> torch.Tensor:
    """Return noise of the same spread: what is read from memory that somebody else has written to."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(kept.shape, generator=generator, dtype=kept.dtype) * kept.std() * 2


FAULTS: dict[str, Callable[[Any, int], Any]] = {
    "NaN": lambda model, layer: changed_output(model, layer, one_value(torch.nan)),
    "Inf": lambda model, layer: changed_output(model, layer, one_value(torch.inf)),
    "float16 overflow": lambda model, layer: changed_output(model, layer, overflow, lasting=True),
    "weights x 8": lambda model, layer: scaled_weights(model, layer, 8.0),
    "zeroed layer": lambda model, layer: scaled_weights(model, layer, 0.0),
    "cache of noise": lambda model, layer: changed_cache(model, layer, noise),
    "cache of zeros": lambda model, layer: changed_cache(model, layer, torch.zeros_like),
    "output x 16 for a step": lambda model, layer: changed_output(model, layer, lambda output: 16 * output),
    "queries x 40": lambda model, layer: sharpened_queries(model, (layer,)),
}
"""Name -> how it is planted in a layer of a model."""
