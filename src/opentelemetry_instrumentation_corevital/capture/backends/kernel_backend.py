"""Rows made by Triton kernels, launched by `kernel_launches`. What they cannot read is reduced by torch."""

import contextlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ..collector.presence import Presence
from ..collector.step import LayerStates, Step
from ..row.host_transfer import Numbers, RowTransfer
from ..row.layout import Layout
from .hidden_state_numbers import HiddenNumbers
from .kernel_availability import break_kernels
from .torch_backend import parts_of

if TYPE_CHECKING:  # it needs Triton
    from .kernel_launches import Fused

_HIDDEN: Final = {"hidden"}
_ATTENTION: Final = {"attention", "cross", "heads"}
"""Families that the kernels write, where they can."""


class KernelBackend:
    """See `backend.Backend`.

    Args:
        presence: of the call.
        transfer: gives memory for rows that the device can write.
        fused: launches the kernels.
        device: of the model and of the rows.
    """

    def __init__(self, presence: Presence, transfer: RowTransfer, fused: "Fused", device: torch.device) -> None:
        self._presence = presence
        self._transfer = transfer
        self._fused = fused
        self._device = device
        self._numbers = HiddenNumbers()
        self._internals: Tensor | None = None
        """The row of the step under way, its logits' part excepted."""
        self._readable: tuple[torch.Size, torch.dtype] | None = None
        """Shape and dtype of states that the kernels can read."""

    def measure(self, step: Step) -> None:
        """See `Backend`."""
        assert step.logits is not None
        with self._current():
            try:
                self._internals = self._write_internals(step)
                self._fused.logits(step.logits, edited=step.edited)
            except Exception as error:
                break_kernels(self._device, error)
                raise

    def _write_internals(self, step: Step) -> Tensor | None:
        """Return memory [sequences, numbers] in which all internals of the step are written; None if that fails."""
        try:
            layout, fused = self._presence.layout, self._fused
            row = fused.scratch_row(layout.width(attention=step.attention is not None))
            addresses, plan = self._addresses(step.hidden), step.plan
            left = set(layout.blocks)
            if addresses:
                self._numbers.break_off()
                left -= _HIDDEN
            else:
                fused.forget()
            if plan is not None or step.attention is None:
                left -= _ATTENTION
            if left:
                self._write_by_torch(step, row, layout, left)
            if addresses or plan is not None:
                fused.internals(row, addresses, step.index, ends=bool(addresses) and layout.ends("hidden"), plan=plan)
            return row
        except Exception as error:
            break_kernels(self._device, error)
            self._presence.fail(error)
            return None

    @torch.no_grad()
    def _write_by_torch(self, step: Step, row: Tensor, layout: Layout, families: Collection[str]) -> None:
        """Write families that the kernels do not write at this step; NaN where it has none of their numbers."""
        parts = parts_of(step, self._numbers, layout, families)
        for family in families:
            row[:, layout.blocks[family].span] = parts.get(family, torch.nan)

    def _addresses(self, hidden: LayerStates | None) -> list[int]:
        """Return the addresses of the layers' states, where the kernels can read them; else nothing.

        They are asked tensor by tensor only of others than before.
        """
        if hidden is None:
            return []
        if hidden.alike is None or hidden.alike != self._readable:
            readable = self._fused.takes(hidden.states)
            self._readable = hidden.alike if readable else None
            if not readable:
                return []
        return hidden.addresses or [state.data_ptr() for state in hidden.states]

    def row(self, step: Step) -> Tensor:
        """See `Backend`."""
        internals, tokens, done = self._internals, step.tokens, step.done
        assert tokens is not None
        assert done is not None
        row = self._transfer.room(
            step.sequences, self._presence.layout.start if internals is None else internals.shape[1]
        )
        with self._current():
            self._fused.tokens(tokens, done, row, internals)
        return row

    def reorder(self, parents: Tensor) -> None:
        """See `Backend`."""
        self._numbers.reorder(parents)
        self._fused.reorder(parents)

    def break_off(self) -> None:
        """See `Backend`."""
        self._numbers.break_off()
        self._fused.forget()

    def read(self, row: Tensor) -> Numbers:
        """See `Backend`."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        numbers: Numbers = row.numpy()
        return numbers

    def finish(self) -> None:
        """See `Backend`."""

    def release(self) -> None:
        """See `Backend`."""
        self._fused.release()

    def _current(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which launches go to the device of the rows."""
        if self._device.type != "cuda" or torch.cuda.current_device() == self._device.index:
            return contextlib.nullcontext()
        return torch.cuda.device(self._device)
