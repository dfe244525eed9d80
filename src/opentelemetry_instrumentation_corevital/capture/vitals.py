"""One step's vitals row, from its logits, from what the taps have seen inside, and from the chosen tokens."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from .available import break_kernels, kernels_for
from .batched import BatchedVitals
from .inside import Inside
from .layout import LOGIT_WIDTH
from .rows import RowCarrier
from .signals import LogitSignals, logit_signals, numbers_of
from .stacking import ordered

if TYPE_CHECKING:
    from .fused import Fused


class Vitals(Protocol):
    """Makes the rows of one call, step by step."""

    def measure(self, logits: Tensor, *, edited: bool) -> None:
        """Take a step's raw logits [sequences, vocabulary] and what is inside.

        Args:
            logits: before any processor sees them.
            edited: whether a processor may change them in place before `row` is asked for.
        """

    def row(self, tokens: Tensor, done: Tensor) -> Tensor:
        """Return the step's row float32 [sequences, width], see `layout`.

        Args:
            tokens: int64 [sequences], the chosen ones.
            done: bool [sequences], which sequences are over.
        """

    def last_row(self, sequences: int) -> Tensor:
        """Return the row of a step whose tokens were never chosen; what it says of them does not matter. Waits."""

    def finish(self) -> None:
        """See to it that every row is written, or will be when the device is through with its work."""

    def release(self) -> None:
        """Give back what the call has borrowed, when all rows have arrived."""


class TorchVitals:
    """Rows by torch's own operations, step by step, on every device."""

    def __init__(self, inside: Inside | None) -> None:
        self._inside = inside
        self._signals: LogitSignals | None = None
        self._parts: Sequence[Tensor] = ()

    def measure(self, logits: Tensor, *, edited: bool) -> None:  # noqa: ARG002 - it copies the logits in any case
        """See `Vitals`."""
        self._signals, self._parts = logit_signals(logits), ()
        if self._inside is None:
            return
        try:
            self._parts = self._inside.reduce(logits.shape[0], logits.device)
        except Exception as error:
            self._inside.fail(error)

    def row(self, tokens: Tensor, done: Tensor) -> Tensor:
        """See `Vitals`."""
        signals = self._signals
        assert signals is not None
        numbers = ordered("logits", numbers_of(signals, tokens), "step")
        row = torch.stack((*numbers, tokens.float(), done.float()), dim=-1)
        return torch.cat((row, *self._parts), dim=-1) if self._parts else row

    def last_row(self, sequences: int) -> Tensor:
        """See `Vitals`."""
        assert self._signals is not None
        no_token = torch.zeros(sequences, dtype=torch.int64, device=self._signals.nan.device)
        return self.row(no_token, no_token)

    def finish(self) -> None:
        """See `Vitals`."""

    def release(self) -> None:
        """See `Vitals`."""


class FusedVitals:
    """Rows by the kernels."""

    def __init__(self, inside: Inside | None, fused: "Fused", device: torch.device, carrier: RowCarrier) -> None:
        self._inside = inside
        self._fused = fused
        self._device = device
        self._carrier = carrier
        self._parts: Tensor | None = None

    def measure(self, logits: Tensor, *, edited: bool) -> None:
        """See `Vitals`."""
        with self._current():
            try:
                self._parts = self._of_inside(logits)
                self._fused.logits(logits, edited=edited)
            except Exception as error:
                break_kernels(self._device, error)
                raise

    def _of_inside(self, logits: Tensor) -> Tensor | None:
        if self._inside is None:
            return None
        try:
            return self._inside.write(self._fused, logits.shape[0], self._device)
        except Exception as error:
            break_kernels(self._device, error)
            self._inside.fail(error)
            return None

    def row(self, tokens: Tensor, done: Tensor) -> Tensor:
        """See `Vitals`."""
        row = self._carrier.room(tokens.shape[0], LOGIT_WIDTH if self._parts is None else self._parts.shape[1])
        with self._current():
            self._fused.tokens(tokens, done, row, self._parts)
        return row

    def last_row(self, sequences: int) -> Tensor:
        """See `Vitals`."""
        no_token = torch.zeros(sequences, dtype=torch.int64, device=self._device)
        row = self.row(no_token, no_token.bool())
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return row

    def finish(self) -> None:
        """See `Vitals`."""

    def release(self) -> None:
        """See `Vitals`."""
        self._fused.release()

    def _current(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which launches go to the device of the rows."""
        if self._device.type != "cuda" or torch.cuda.current_device() == self._device.index:
            return contextlib.nullcontext()
        return torch.cuda.device(self._device)


def vitals_for(
    logits: Tensor, inside: Inside | None, carrier: RowCarrier, *, kernels: bool, at_once: bool = True
) -> Vitals:
    """Return what makes the rows of a call.

    Args:
        logits: of its first step.
        inside: what the taps have seen.
        carrier: where the rows go.
        kernels: whether kernels may make them.
        at_once: whether somebody reads each row as soon as it has been pushed.
    """
    device = logits.device
    found = kernels_for(device) if kernels and logits.dtype == torch.float32 and logits.stride(-1) == 1 else None
    if found is not None:
        return FusedVitals(inside, found(device, logits.shape[0]), device, carrier)
    if device.type == "cpu" and not at_once:
        return BatchedVitals(inside, carrier)
    return TorchVitals(inside)
