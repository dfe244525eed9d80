"""A cache that returns the same buffers from every layer."""

from typing import Any

import torch
from transformers import DynamicCache

BUFFER = 1 << 14


class Scratch(DynamicCache):
    """Hands out one buffer for all layers, as caches do that decompress."""

    buffer: torch.Tensor | None = None

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        keys, values = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        self.buffer = keys.new_empty(BUFFER) if self.buffer is None else self.buffer
        return self.buffer[: keys.numel()].view(keys.shape).copy_(keys), values
