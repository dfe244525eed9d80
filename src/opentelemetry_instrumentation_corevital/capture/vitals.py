"""One step's vitals row, from its logits, from what the taps have seen inside, and from the chosen tokens."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from .available import break_kernels, kernels_for
from .inside import Inside
from .layout import LOGIT_WIDTH
from .signals import LogitSignals, logit_signals, surprisal

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

    def last_row(self) -> Tensor:
        """Return the row of a step whose tokens were never chosen; what it says of them does not matter."""


class TorchVitals:
    """Rows by torch's own operations, on every device."""

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
        row = torch.stack(
            (
                signals.entropy,
                surprisal(signals, tokens),
                signals.margin,
                signals.top1_prob,
                signals.topk_mass,
                signals.nan,
                signals.posinf,
                signals.neginf,
                tokens.float(),
                done.float(),
            ),
            dim=-1,
        )
        return torch.cat((row, *self._parts), dim=-1) if self._parts else row

    def last_row(self) -> Tensor:
        """See `Vitals`."""
        assert self._signals is not None
        no_token = torch.zeros_like(self._signals.nan, dtype=torch.int64)
        return self.row(no_token, no_token)


class FusedVitals:
    """Rows by the kernels."""

    def __init__(self, inside: Inside | None, fused: "Fused", device: torch.device) -> None:
        self._inside = inside
        self._fused = fused
        self._device = device
        self._row: Tensor | None = None

    def measure(self, logits: Tensor, *, edited: bool) -> None:
        """See `Vitals`."""
        with self._current():
            try:
                self._row = self._with_inside(logits)
                self._fused.logits(logits, edited=edited)
            except Exception as error:
                break_kernels(self._device, error)
                raise

    def _with_inside(self, logits: Tensor) -> Tensor:
        sequences = logits.shape[0]
        if self._inside is not None:
            try:
                return self._inside.write(self._fused, sequences, self._device)
            except Exception as error:
                break_kernels(self._device, error)
                self._inside.fail(error)
        return torch.empty((sequences, LOGIT_WIDTH), dtype=torch.float32, device=self._device)

    def row(self, tokens: Tensor, done: Tensor) -> Tensor:
        """See `Vitals`."""
        row = self._row
        assert row is not None
        with self._current():
            self._fused.tokens(tokens, done, row)
        return row

    def last_row(self) -> Tensor:
        """See `Vitals`."""
        assert self._row is not None
        no_token = torch.zeros(len(self._row), dtype=torch.int64, device=self._device)
        return self.row(no_token, no_token.bool())

    def _current(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which launches go to the device of the rows."""
        if self._device.type != "cuda" or torch.cuda.current_device() == self._device.index:
            return contextlib.nullcontext()
        return torch.cuda.device(self._device)


def vitals_for(logits: Tensor, inside: Inside | None, *, kernels: bool) -> Vitals:
    """Return what makes the rows of a call with such logits."""
    device = logits.device
    found = kernels_for(device) if kernels and logits.dtype == torch.float32 and logits.stride(-1) == 1 else None
    if found is None:
        return TorchVitals(inside)
    return FusedVitals(inside, found(device, logits.shape[0]), device)
