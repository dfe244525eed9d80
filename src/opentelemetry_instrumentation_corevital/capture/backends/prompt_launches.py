"""Launches of `prompt_kernels`: the numbers of a prompt where Triton's kernels can be used.

Everything goes to the stream of the model's own work. Nothing waits.
"""

from typing import Any, Final

import torch
from torch import Tensor

from ..attention.scores import Attended
from ..definitions.prompt_numbers import PromptKeys, kept_connections
from . import prompt_kernels as kernels
from .fast_launch import Launcher

_TYPES: Final = frozenset((torch.float32, torch.bfloat16, torch.float16))
_VOCABULARY_BLOCK: Final = 4096
_MAX_WIDTH: Final = 16384
"""Of a hidden state: one program holds it in registers."""
_TOGETHER: Final = 8
"""Positions of a program that compares layers."""
_KEYS_BLOCK: Final = 128
_WIDE_KEY: Final = 256
"""Bytes of a key above which a block has half as many: it has to fit into shared memory."""
_INT32: Final = 2**31 - 1
"""Triton compiles a kernel anew for an argument above it."""
_JOINED: Final = 256
"""Blocks of keys that are joined at once."""

_surprisal: Final = Launcher(kernels.surprisal_kernel, 8)
_layer_change: Final = Launcher(kernels.layer_change_kernel, 8)
_prompt_parts: Final = Launcher(kernels.prompt_parts_kernel)
_prompt_row: Final = Launcher(kernels.prompt_row_kernel, 1)


class PromptLaunches:
    """See `prompt.parts.PromptKernels`; on the current device."""

    def surprisal(self, logits: Tensor, tokens: Tensor, out: Tensor) -> bool:
        """See `PromptKernels`."""
        if logits.dtype not in _TYPES or not logits.is_contiguous() or tokens.stride(1) != 1 or out.stride(1) != 1:
            return False
        positions, vocabulary = logits.shape
        _surprisal(
            (logits.device.index, logits.dtype, vocabulary, logits.data_ptr() % 16 == 0),
            (positions, 1, 1),
            *(logits, vocabulary, tokens, tokens.stride(0), out, out.stride(0), tokens.shape[1]),
            *(vocabulary, _VOCABULARY_BLOCK),
        )
        return True

    def layer_change(self, before: Tensor, after: Tensor, real: Tensor) -> Tensor | None:
        """See `PromptKernels`."""
        sequences, positions, width = after.shape
        same = before.device == after.device == real.device and before.dtype == after.dtype
        if not same or after.dtype not in _TYPES or width > _MAX_WIDTH:
            return None
        if not before.stride(2) == after.stride(2) == real.stride(1) == 1:
            return None
        groups = -(-positions // _TOGETHER)
        out = torch.empty((sequences, groups), device=after.device)
        strides = (*before.stride()[:2], *after.stride()[:2])
        alike = strides[1], strides[3], strides[0] > _INT32, strides[2] > _INT32
        aligned = before.data_ptr() % 16 == 0, after.data_ptr() % 16 == 0
        _layer_change(
            (after.device.index, after.dtype, width, *alike, *aligned),
            (groups, sequences, 1),
            *(before, after, *strides, real, real.stride(0), out, positions),
            *(width, _power(width), _TOGETHER),
        )
        return out.sum(-1)

    def attention(
        self, taken: Attended, keys: PromptKeys, *, full: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
        """See `PromptKernels`."""
        query, key = taken.query, taken.key
        sequences, heads, _, width = query.shape
        shared, count = key.shape[1:3]
        unread = taken.biases or taken.learned_sink is not None or query.dtype != key.dtype or query.dtype not in _TYPES
        if unread or query.device != key.device or query.stride(3) != 1 or key.stride(3) != 1:
            return None
        block = _KEYS_BLOCK if width * key.element_size() <= _WIDE_KEY else _KEYS_BLOCK // 2
        blocks, device, group = -(-count // block), key.device, heads // shared
        parts = torch.empty((sequences, heads, blocks, kernels.PARTS.value), device=device)
        counts = torch.empty((sequences, blocks, 2), dtype=torch.int32, device=device)
        kept = (sequences, heads, blocks, kernels.TOP.value) if full else (1,)
        scores, at = torch.empty(kept, device=device), torch.empty(kept, dtype=torch.int32, device=device)
        basin = torch.empty((sequences, heads), device=device)
        softmax = torch.empty((sequences, heads, kernels.SOFTMAX.value), device=device)
        visible, real, middle = taken.visible, keys.real.contiguous(), keys.middle.contiguous()
        seen = real if visible is None else visible
        seen_strides = (seen.stride(0) if len(seen) > 1 else 0, seen.stride(1))
        key_strides, capped = key.stride()[:3], taken.softcap is not None
        aligned = key.data_ptr() % 16 == 0 and all(stride % 16 == 0 for stride in key_strides)
        shape: tuple[Any, ...] = (group, max(16, _power(group)), width, max(16, _power(width)), block)
        choices = (capped, visible is not None, aligned, full, device.type == "cpu")
        wide = tuple(stride > _INT32 for stride in (*key_strides, *query.stride()[:2], *seen_strides))
        _prompt_parts(
            (device.index, key.dtype, shape, choices, wide, key.data_ptr() % 16 == 0),
            (sequences, shared, blocks),
            *(query, key, parts, counts, scores, at, taken.scale, float(taken.softcap or 0.0)),
            *(*query.stride()[:2], *key_strides, count, seen, *seen_strides, real, middle, count),
            *(*shape, *choices),
        )
        _prompt_row((device.index,), (heads, sequences, 1), parts, counts, basin, softmax, blocks, _JOINED)
        if not full:
            return basin, None, None
        top, where = scores.flatten(2).topk(kernels.TOP.value, -1)
        weights = (top - softmax[..., :1]).exp_().div_(softmax[..., 1:])
        weights = weights.masked_fill_(top == -torch.inf, -1.0)  # keys that are not seen
        return basin, *kept_connections(weights, at.flatten(2).gather(-1, where), keys)


def _power(number: int) -> int:
    """Return the smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()
