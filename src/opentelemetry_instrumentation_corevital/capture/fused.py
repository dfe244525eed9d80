"""One call's launches of `kernels`: tables of addresses, scratch memory, grids.

Everything of a step goes to the stream of the model's own work, so that no tensor can be freed or overwritten before
it is read. Nothing waits: the table travels through pinned memory whose turn comes again only when its copy is over.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from . import kernels
from .launch import Launcher
from .layout import DONE, TOKEN
from .plan import COLUMNS, RANKS, SEEN, Group, Plan
from .rows import RING_SLOTS

_LOGITS_BLOCK: Final = 4096
_KEYS_BLOCK: Final = 64
_KEYS_BLOCK_WIDE: Final = 32
"""Where a key takes more than half a KiB: a block has to fit into shared memory several times."""
_RANKS_BLOCK: Final = 1024
_MAX_SPLITS: Final = 16
_PROGRAMS: Final = 2048
"""Programs that keep every GPU of today busy; with fewer the keys are split."""
_MAX_WIDTH: Final = 16384
"""Of a hidden state: one program holds it in registers."""
_TABLE_SLOTS: Final = RING_SLOTS + 1
"""A row may wait for its copy for RING_SLOTS steps, and its step's table was copied before it."""
_SURPRISAL: Final = 1
"""Position in the row."""

_TYPES: Final[dict[torch.dtype, Any]] = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
}

_hidden: Final = Launcher(kernels.hidden_kernel, 8)
_logits_parts: Final = Launcher(kernels.logits_parts_kernel, 8)
_logits_row: Final = Launcher(kernels.logits_row_kernel)
_tokens: Final = Launcher(kernels.tokens_kernel, 1)
_ranks: Final = Launcher(kernels.ranks_kernel)
_attention_parts: Final = Launcher(kernels.attention_parts_kernel)
_attention_row: Final = Launcher(kernels.attention_row_kernel, 1)


class Fused:
    """Reduces the steps of one call on one device, which has to be the current one.

    Args:
        device: of the model and of the rows.
        sequences: of every step.
    """

    def __init__(self, device: torch.device, sequences: int) -> None:
        self._device = device
        self._sequences = sequences
        self._tables: Tensor | None = None
        self._table = torch.empty(0, dtype=torch.int64, device=device)
        self._turn = 0
        self._last: Tensor | None = None
        self._logits: Tensor | None = None
        self._normalizer = torch.empty((sequences, 2), device=device)
        self._parts: dict[str, Tensor] = {}

    # --- logits -----------------------------------------------------------------------------------------------------

    def logits(self, logits: Tensor, row: Tensor, *, edited: bool) -> None:
        """Write the signals of a step's raw logits.

        Args:
            logits: float32 [sequences, vocabulary].
            row: float32 [sequences, ...].
            edited: whether the logits may be changed before `tokens`, so that a copy of them has to be kept.
        """
        rows, vocabulary = logits.shape
        splits, stride, row_stride = -(-vocabulary // _LOGITS_BLOCK), logits.stride(0), row.stride(0)
        parts = self._scratch("logits", rows * splits * kernels.LOGIT_PARTS.value)
        self._logits = torch.empty((rows, vocabulary), device=self._device) if edited else logits
        aligned = logits.data_ptr() % 16 == 0
        _logits_parts(
            (self._device.index, aligned, stride, vocabulary, edited),
            (splits, rows, 1),
            *(logits, stride, self._logits, parts, vocabulary, edited, _LOGITS_BLOCK),
        )
        padded = _power(splits)
        _logits_row(
            (self._device.index, splits, row_stride, padded),
            (rows, 1, 1),
            *(parts, splits, row, row_stride, self._normalizer, padded),
        )

    def tokens(self, tokens: Tensor, done: Tensor, row: Tensor) -> None:
        """Write a step's chosen tokens int64 [sequences], their surprisal, and which sequences are done, bool."""
        logits, self._logits = self._logits, None
        assert logits is not None
        stride, row_stride = logits.stride(0), row.stride(0)
        _tokens(
            (self._device.index, stride, row_stride, logits.data_ptr() % 16 == 0),
            (self._sequences, 1, 1),
            *(logits, stride, self._normalizer, tokens, tokens.stride(0), done, row, row_stride),
            *(_SURPRISAL, TOKEN, DONE),
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def inside(
        self, row: Tensor, hidden: Sequence[Tensor], offset: int, *, ends: bool, plan: Plan | None = None
    ) -> None:
        """Write the numbers of hidden states and attention.

        Args:
            row: float32 [sequences, ...].
            hidden: of each layer [sequences, D] or [sequences, 1, D].
            offset: where in the row theirs begin.
            ends: whether the last of them is the model's last layer.
            plan: of the step's attention.
        """
        groups = () if plan is None else plan.groups
        counted = [self._count(group) for group in groups]  # keeps what the launches below read
        of_hidden = [number for state in hidden for number in (state.data_ptr(), state.stride(0))]
        table = self._sent(of_hidden, groups)
        if hidden:
            self._hidden(table, row, hidden, offset, ends=ends)
        start = len(of_hidden)
        for group in groups:
            self._attention(table[start:] if start else table, row, group)
            start += group.entries.size
        del counted

    def takes(self, hidden: Sequence[Tensor]) -> bool:
        """Whether the kernels can read these layers' states: all alike, on the rows' device."""
        first = hidden[0]
        shape, dtype, index = first.shape, first.dtype, -1 if self._device.index is None else self._device.index
        return (
            dtype in _TYPES
            and shape[-1] <= _MAX_WIDTH
            and all(
                state.get_device() == index and state.dtype is dtype and state.shape == shape and state.stride(-1) == 1
                for state in hidden
            )
        )

    def forget(self) -> None:
        """Let the next step's last layer not be compared with this one's."""
        self._last = None

    def _hidden(self, table: Tensor, row: Tensor, hidden: Sequence[Tensor], offset: int, *, ends: bool) -> None:
        width, dtype, row_stride = hidden[0].shape[-1], hidden[0].dtype, row.stride(0)
        continues = self._last is not None
        if self._last is None:
            self._last = torch.empty((self._sequences, width), device=self._device)
        last_layer = len(hidden) - 1 if ends else -1
        _hidden(
            (self._device.index, row_stride, offset, last_layer, continues, width, dtype),
            (len(hidden), self._sequences, 1),
            *(table, row, row_stride, offset, self._last, last_layer, int(continues)),
            *(width, _power(width), _TYPES[dtype]),
        )
        if not ends:
            self._last = None

    def _attention(self, table: Tensor, row: Tensor, group: Group) -> None:
        layers, sequences, heads, shared = len(group.entries), self._sequences, group.heads, group.shared
        programs = layers * sequences * shared
        block = _KEYS_BLOCK if group.width * group.dtype.itemsize <= 512 else _KEYS_BLOCK_WIDE
        splits = max(1, min(_MAX_SPLITS, -(-group.keys // block), -(-_PROGRAMS // programs)))
        parts = self._scratch("attention", layers * sequences * heads * splits * kernels.ATTENTION_PARTS.value)
        dtype, row_stride = _TYPES[group.dtype], row.stride(0)
        ranked, capped, widen = group.visible is not None, group.softcap is not None, self._device.type == "cpu"
        alike = self._device.index, sequences, shared, group.dtype, ranked
        rows, padded = max(16, _power(heads // shared)), max(16, _power(group.width))
        _attention_parts(
            (*alike, heads, group.width, capped, group.aligned, table.data_ptr() % 16 == 0),
            (programs, splits, 1),
            *(table, parts, group.scale, group.softcap or 0.0, sequences, shared, heads // shared, rows),
            *(group.width, padded, block, dtype, capped, ranked, group.aligned, widen),
        )
        _attention_row(
            (*alike, heads, row_stride, group.learned, table.data_ptr() % 16 == 0),
            (layers, sequences, 1),
            *(table, parts, splits, row, row_stride, sequences, heads, _power(heads), dtype, ranked, group.learned),
        )

    def _count(self, group: Group) -> tuple[Tensor, Tensor] | None:
        """Count the keys that a group's queries see, and note in its table where the counts are."""
        visible = group.visible
        if visible is None:
            return None
        keys, sequences = visible.shape[1], self._sequences
        ranks = torch.empty((sequences, keys), dtype=torch.int32, device=self._device)
        seen = torch.empty(sequences, dtype=torch.int32, device=self._device)
        stride = visible.stride(0) if visible.shape[0] > 1 else 0
        _ranks(
            (self._device.index,),
            (sequences, 1, 1),
            *(visible, stride, visible.stride(1), ranks, seen, keys, _RANKS_BLOCK),
        )
        group.entries[:, RANKS], group.entries[:, SEEN] = ranks.data_ptr(), seen.data_ptr()
        return ranks, seen

    # --- memory -----------------------------------------------------------------------------------------------------

    def _scratch(self, name: str, size: int) -> Tensor:
        """Return float32 memory that the step's own launches use and nobody after them."""
        found = self._parts.get(name)
        if found is None or found.numel() < size:
            found = self._parts[name] = torch.empty(size, device=self._device)
        return found

    def _sent(self, of_hidden: list[int], groups: Sequence[Group]) -> Tensor:
        """Bring a step's table to the device: int64, what layers need, then each group's."""
        size = len(of_hidden) + COLUMNS * sum(len(group.entries) for group in groups)
        on_host = self._device.type == "cpu"  # Triton's interpreter
        if self._tables is None or self._tables.shape[1] < size:
            self._tables = torch.empty((_TABLE_SLOTS, size), dtype=torch.int64, pin_memory=not on_host)
            self._table = torch.empty(size, dtype=torch.int64, device=self._device)
        slot = self._tables[self._turn % _TABLE_SLOTS, :size]
        self._turn += 1
        np.concatenate((of_hidden, *(group.entries.ravel() for group in groups)), out=slot.numpy(), casting="unsafe")
        table = self._table[:size]
        table.copy_(slot, non_blocking=True)
        return table


def _power(number: int) -> int:
    """Return the smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()
