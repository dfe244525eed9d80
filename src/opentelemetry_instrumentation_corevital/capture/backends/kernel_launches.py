"""One call's launches of `kernels`: tables of addresses, scratch memory, grids.

Everything of a step goes to the stream of the model's own work, so that no tensor can be freed or overwritten before
it is read. Nothing waits, and nothing is copied by the driver: kernels read the table of addresses from pinned memory,
whose turn comes again only when they have, and write the finished row into another.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
import triton.language as tl
from torch import Tensor

from ..attention.plan import AttentionGroup, Plan
from ..row.host_transfer import RING_SLOTS
from ..row.layout import LOGIT_WIDTH
from ..row.pinned_memory import borrow, give_back
from . import kernels
from .fast_launch import Launcher

_LOGITS_BLOCK: Final = 4096
_KEYS_BLOCK: Final = 64
_WIDE_KEY: Final = 512
"""Bytes of a key above which a block has half as many: it has to fit into shared memory several times."""
_INT32: Final = 2**31 - 1
"""Triton compiles a kernel anew for an argument above it."""
_RANKS_BLOCK: Final = 1024
_ROW_BLOCK: Final = 1024
_MAX_SPLITS: Final = 16
_PROGRAMS: Final = 2048
"""Programs that keep every GPU of today busy; with fewer the keys are split."""
_MAX_WIDTH: Final = 16384
"""Of a hidden state: one program holds it in registers."""
_TABLE_SLOTS: Final = RING_SLOTS + 1
"""A row may be under way for RING_SLOTS steps, and its step's table was read before it was written."""

_TYPES: Final[dict[torch.dtype, Any]] = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
}

_hidden: Final = Launcher(kernels.hidden_kernel, 8)
_logits_parts: Final = Launcher(kernels.logits_parts_kernel, 8)
_logits_row: Final = Launcher(kernels.logits_row_kernel)
_ranks: Final = Launcher(kernels.ranks_kernel)
_attention_parts: Final = Launcher(kernels.attention_parts_kernel)
_attention_row: Final = Launcher(kernels.attention_row_kernel, 1)


class Fused:
    """Reduces the steps of one call on one device, which has to be the current one.

    Args:
        device: of the model and of the rows.
        sequences: of every step.
        alternatives: how many of a step's likeliest tokens its row has.
    """

    def __init__(self, device: torch.device, sequences: int, alternatives: int = 0) -> None:
        self._device = device
        self._sequences = sequences
        self._alternatives = alternatives
        self._start = LOGIT_WIDTH + 2 * alternatives
        self._index = device.index
        self._state: tuple[int, torch.dtype] = 0, torch.float32
        self._nothing = torch.empty(1, dtype=torch.int32, device=device)
        self._known_places: WeakKeyDictionary[AttentionGroup, Tensor] = WeakKeyDictionary()
        self._slots: list[tuple[Tensor, memoryview]] = []
        self._table = torch.empty(0, dtype=torch.int64, device=device)
        self._blocks: list[Tensor] = []
        self._rows: dict[int, Tensor] = {}
        self._turn = 0
        self._last: Tensor | None = None
        self._logits: Tensor | None = None
        self._parts: dict[str, Tensor] = {}

    # --- logits -----------------------------------------------------------------------------------------------------

    def logits(self, logits: Tensor, *, edited: bool) -> None:
        """Take in a step's raw logits.

        Args:
            logits: float32 [sequences, vocabulary].
            edited: whether they may be changed before `tokens`, so that a copy of them has to be kept.
        """
        rows, vocabulary = logits.shape
        splits, stride = -(-vocabulary // _LOGITS_BLOCK), logits.stride(0)
        parts = self._scratch("logits", rows * splits * kernels.LOGIT_PARTS.value)
        self._logits = torch.empty((rows, vocabulary), device=self._device) if edited else logits
        _logits_parts(
            (self._index, logits.data_ptr() % 16 == 0, stride, vocabulary, edited, self._alternatives),
            (splits, rows, 1),
            *(logits, stride, self._logits, parts, self._ids(rows, splits), vocabulary),
            *(edited, _LOGITS_BLOCK, self._alternatives),
        )

    def tokens(self, tokens: Tensor, done: Tensor, row: Tensor, internals: Tensor | None = None) -> None:
        """Write the signals of a step's logits, its chosen tokens int64 [sequences], and which sequences are done.

        Args:
            tokens: int64 [sequences].
            done: bool [sequences].
            row: float32 [sequences, width], contiguous, on the device or in pinned memory.
            internals: float32 [sequences, width or more]: all of it but the logits goes into the row.
        """
        logits, self._logits = self._logits, None
        assert logits is not None
        vocabulary, stride = logits.shape[1], logits.stride(0)
        internals_stride = row.stride(0) if internals is None else internals.stride(0)
        splits = -(-vocabulary // _LOGITS_BLOCK)
        alike = self._index, splits, stride, internals_stride, self._alternatives
        parts = self._scratch("logits", self._sequences * splits * kernels.LOGIT_PARTS.value)
        _logits_row(
            (*alike, logits.data_ptr() % 16 == 0, row.data_ptr() % 16 == 0),
            (self._sequences, 1, 1),
            *(parts, self._ids(self._sequences, splits), splits, logits, stride, tokens, tokens.stride(0), done),
            *(row if internals is None else internals, internals_stride, row, row.shape[1]),
            *(_power(splits), _ROW_BLOCK, self._alternatives),
        )

    # --- internals ---------------------------------------------------------------------------------------------------

    def internals(
        self, row: Tensor, hidden: Sequence[int], step: int, *, ends: bool = False, plan: Plan | None = None
    ) -> None:
        """Write the numbers of hidden states and attention.

        Args:
            row: float32 [sequences, ...].
            hidden: address of each layer's state, of tensors that `takes` has approved of.
            step: index of the step.
            ends: whether the last of them is the model's last layer.
            plan: of the step's attention.
        """
        groups = () if plan is None else plan.groups
        addresses = list(hidden)
        for group in groups:
            addresses += group.addresses
        table, on_device = self._written(addresses), self._table[: len(addresses)]
        if hidden:
            self._hidden(table, on_device if groups else None, row, len(hidden), ends=ends)
        else:
            on_device.copy_(table, non_blocking=True)
        start = len(hidden)
        for group in groups:
            self._attention(on_device[start:] if start else on_device, row, group, step if group.own else 0)
            start += len(group.addresses)

    def scratch_row(self, width: int) -> Tensor:
        """Return memory on the device for the internals of a step's row [sequences, width]: the same at every step."""
        found = self._rows.get(width)
        if found is None:
            found = self._rows[width] = torch.empty((self._sequences, width), device=self._device)
        return found

    def takes(self, hidden: Sequence[Tensor]) -> bool:
        """Whether the kernels can read these layers' states: all alike and contiguous, on the rows' device."""
        first = hidden[0]
        shape, dtype, index = first.shape, first.dtype, -1 if self._index is None else self._index
        alike = [
            state
            for state in hidden
            if state.get_device() == index and state.dtype is dtype and state.shape == shape and state.is_contiguous()
        ]
        self._state = shape[-1], dtype
        return dtype in _TYPES and shape[-1] <= _MAX_WIDTH and len(alike) == len(hidden)

    def forget(self) -> None:
        """Let the next step's last layer not be compared with this one's."""
        self._last = None

    def reorder(self, parents: Tensor) -> None:
        """Let the next step's last layer be compared with other sequences of this one's: parents int64 [sequences]."""
        if self._last is not None:
            self._last = self._last.index_select(0, parents)

    def _hidden(self, table: Tensor, copy: Tensor | None, row: Tensor, layers: int, *, ends: bool) -> None:
        (width, dtype), row_stride, size = self._state, row.stride(0), len(table)
        continues = self._last is not None
        if self._last is None:
            self._last = torch.empty((self._sequences, width), device=self._device)
        last_layer, more = layers - 1 if ends else -1, 0 if copy is None else _power(size)
        alike = self._index, row_stride, self._start
        _hidden(
            (*alike, last_layer, continues, width, dtype, size, more, table.data_ptr() % 16 == 0),
            (layers, self._sequences, 1),
            *(table, table if copy is None else copy, size, row, row_stride, self._start),
            *(self._last, last_layer, int(continues), width, _power(width), _TYPES[dtype], more),
        )
        if not ends:
            self._last = None

    def _attention(self, table: Tensor, row: Tensor, group: AttentionGroup, generated: int) -> None:
        sequences, heads, shared, keys, width = self._sequences, group.heads, group.shared, group.keys, group.width
        programs = group.layers * sequences * shared
        block = _KEYS_BLOCK if width * group.dtype.itemsize <= _WIDE_KEY else _KEYS_BLOCK // 2
        splits = max(1, min(_MAX_SPLITS, -(-keys // block), -(-_PROGRAMS // programs)))
        parts = self._scratch("attention", group.layers * sequences * heads * splits * kernels.ATTENTION_PARTS.value)
        ranks, seen = self._count(group.visible)
        ranked, capped, aligned = group.visible is not None, group.softcap is not None, group.aligned
        dtype, row_stride = _TYPES[group.dtype], row.stride(0)
        alike = self._index, sequences, shared, group.dtype, ranked, table.data_ptr() % 16 == 0
        _attention_parts(
            (*alike, heads, width, capped, aligned, max(group.key_strides) > _INT32),
            (programs, splits, 1),
            *(table, parts, group.scale, float(group.softcap or 0.0), sequences, shared),
            *(*group.query_strides, *group.key_strides, keys, generated, ranks, seen),
            *(heads // shared, max(16, _power(heads // shared)), width, max(16, _power(width)), block, dtype),
            *(capped, ranked, aligned, self._device.type == "cpu"),
        )
        places, learned = self._places(group), bool(group.sinks)
        _attention_row(
            (*alike, heads, row_stride, learned, group.own),
            (group.layers, sequences, 1),
            *(places, parts, splits, row, row_stride, sequences, heads, keys, generated, seen),
            *(group.own, _power(heads), dtype, ranked, learned),
        )

    def _count(self, visible: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the rank of every key, 0 for one that is not visible, and how many are."""
        if visible is None:
            return self._nothing, self._nothing
        keys, sequences = visible.shape[1], self._sequences
        ranks = torch.empty((sequences, keys), dtype=torch.int32, device=self._device)
        seen = torch.empty(sequences, dtype=torch.int32, device=self._device)
        stride = visible.stride(0) if visible.shape[0] > 1 else 0
        _ranks(
            (self._index, stride > _INT32),
            (sequences, 1, 1),
            *(visible, stride, visible.stride(1), ranks, seen, keys, _RANKS_BLOCK),
        )
        return ranks, seen

    def _places(self, group: AttentionGroup) -> Tensor:
        """Return where the numbers of a group go, on the device: the same at every step of a plan."""
        known = self._known_places.get(group)
        if known is None:
            sinks = [sink.data_ptr() for sink in group.sinks] or [0] * group.layers
            triples = [(*group.places[2 * at : 2 * at + 2], sinks[at]) for at in range(group.layers)]
            on_host = torch.tensor(triples, dtype=torch.int64)
            if self._device.type == "cuda":
                on_host = on_host.pin_memory()
            known = self._known_places[group] = on_host.to(self._device, non_blocking=True)
        return known

    # --- memory -----------------------------------------------------------------------------------------------------

    def _scratch(self, name: str, size: int) -> Tensor:
        """Return float32 memory that the step's own launches use and nobody after them."""
        found = self._parts.get(name)
        if found is None or found.numel() < size:
            found = self._parts[name] = torch.empty(size, device=self._device)
        return found

    def _ids(self, rows: int, splits: int) -> Tensor:
        """Return memory for the ids of the likeliest tokens of every split of a step's rows."""
        return self._scratch("ids", max(1, rows * splits * self._alternatives))

    def _written(self, addresses: list[int]) -> Tensor:
        """Return a step's addresses in memory of the host that the device can read, int64."""
        size = len(addresses)
        if size > len(self._table):
            self._make_tables(size)
        self._turn = (self._turn + 1) % _TABLE_SLOTS
        slot, memory = self._slots[self._turn]
        # NumPy would take twenty times as long for so few numbers.
        struct.pack_into(f"{size}q", memory, 0, *addresses)
        return slot if size == len(slot) else slot[:size]

    def _make_tables(self, size: int) -> None:
        """Make tables of so many addresses; the old ones stay lent, since they may be under way."""
        if self._device.type == "cpu":  # Triton's interpreter
            slots = torch.empty((_TABLE_SLOTS, size), dtype=torch.int64)
        else:
            self._blocks.append(borrow(8 * size * _TABLE_SLOTS))
            slots = self._blocks[-1][: 8 * size * _TABLE_SLOTS].view(torch.int64).view(_TABLE_SLOTS, size)
        self._slots = [(slot, memoryview(slot.numpy())) for slot in slots]
        self._table = torch.empty(size, dtype=torch.int64, device=self._device)

    def release(self) -> None:
        """Give back memory that others can use, when the device has done all that was launched."""
        for block in self._blocks:
            give_back(block)
        self._blocks.clear()
        self._slots, self._table = [], self._table[:0]


def _power(number: int) -> int:
    """Return the smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()
