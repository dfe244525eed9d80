"""Rows of a model on the CPU, the numbers of several steps reduced together.

There the model's weights have just been through the caches and a step's tensors are small: what an operation costs is
its start, and several steps together cost little more than one. What is kept until then are copies, of a bounded size.
Of attention only what depends on the keys is reduced at once: every step has others.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .inside import Inside, Taken
from .layout import DONE, LOGIT_WIDTH, LOGITS, TOKEN
from .rows import RowCarrier
from .signals import logit_signals, numbers_of
from .stacking import stacked

STEPS: Final = 8
"""Steps that are reduced together, at most."""

KEPT_BYTES: Final = 768 * 1024
"""What their logits may take, and their hidden states: more would leave a core's own cache before it is reduced."""

_HOST: Final[dict[str, Any]] = {"dtype": torch.float32, "device": "cpu"}

Part = NDArray[np.float32]
"""A part [sequences, numbers] of a row that waits for its numbers."""


class BatchedVitals:
    """Rows that are pushed step by step and written later, see `vitals.Vitals`."""

    def __init__(self, inside: Inside | None, carrier: RowCarrier) -> None:
        self._inside = inside
        self._carrier = carrier
        self._logits = torch.empty(0, 0, 0, device="cpu")
        """[steps, sequences, vocabulary], one for each of `_logit_parts`."""
        self._states = torch.empty(0, device="cpu")
        """[steps, layers, sequences, D], one for each of `_hidden_parts`."""
        self._sums: list[Any] = []
        """One for each of `_attention_parts`."""
        self._logit_parts: list[Part] = []
        self._hidden_parts: list[Part] = []
        self._attention_parts: list[Part] = []
        self._taken = Taken()
        self._keeps_states = False
        """Whether the hidden part of the step under way is left for later."""
        self._hidden: Tensor | None = None
        """That part, where it is not."""

    def measure(self, logits: Tensor, *, edited: bool) -> None:  # noqa: ARG002 - it copies the logits in any case
        """See `Vitals`."""
        if self._logits.shape[1:] != logits.shape:
            self._write_logits()
            self._logits = _room_for(logits.shape, torch.float32)
        self._logits[len(self._logit_parts)].copy_(logits)
        self._taken, self._keeps_states, self._hidden = Taken(), False, None
        if self._inside is None:
            return
        try:
            self._take(self._inside, logits)
        except Exception as error:
            self._inside.fail(error)

    @torch.no_grad()
    def _take(self, inside: Inside, logits: Tensor) -> None:
        taken = inside.take(len(logits), logits.device, sums=True)
        states, taken.states = taken.states, []  # the layers' outputs are not held for longer
        if states and _alike(states):
            self._keep(states)
            self._keeps_states = True
        else:
            self._write_hidden()
            if states:
                self._hidden = inside.numbers.of_step(states, logits.device, ends=inside.ends)
            else:
                inside.numbers.break_off()
                if inside.keeps_hidden_place(states, taken):
                    self._hidden = torch.full((len(logits), inside.layout.width_of("hidden")), torch.nan, **_HOST)
        self._taken = taken

    def _keep(self, states: list[Tensor]) -> None:
        first = states[0]
        shape, dtype = (len(states), first.shape[0], first.shape[-1]), first.dtype
        if self._states.shape[1:] != shape or self._states.dtype is not dtype:
            self._write_hidden()
            self._states = _room_for(shape, dtype)
        torch.cat(states, out=self._states[len(self._hidden_parts)].view(-1, *first.shape[1:]))

    def row(self, tokens: Tensor, done: Tensor) -> Tensor:
        """See `Vitals`. What is left for later is not written yet."""
        taken, hidden, inside = self._taken, self._hidden, self._inside
        start = end = LOGIT_WIDTH
        if inside is not None and (self._keeps_states or hidden is not None):
            end += inside.layout.width_of("hidden")
        width = end + sum(part.shape[1] for part in taken.attention)
        if inside is not None and taken.sums is not None:
            width += inside.layout.full_width - inside.layout.every_step_width
        row = self._carrier.room(len(tokens), width)
        numbers = row.numpy()
        numbers[:, TOKEN], numbers[:, DONE] = tokens.numpy(), done.numpy()
        self._logit_parts.append(numbers[:, :start])
        if hidden is not None:
            numbers[:, start:end] = hidden.numpy()
        elif end > start:
            self._hidden_parts.append(numbers[:, start:end])
        if taken.attention:
            numbers[:, end:] = torch.cat(taken.attention, -1).numpy()
        elif taken.sums is not None:
            self._sums.append(taken.sums)
            self._attention_parts.append(numbers[:, end:])
        self._write_full()
        return row

    def _write_full(self) -> None:
        """Write the numbers of those steps for which there is no more room."""
        if len(self._logit_parts) == len(self._logits):
            self._write_logits()
        if self._hidden_parts and len(self._hidden_parts) == len(self._states):
            self._write_hidden()
        if len(self._attention_parts) == STEPS:
            self._write_attention()

    def last_row(self, sequences: int) -> Tensor:
        """See `Vitals`."""
        no_token = torch.zeros(sequences, dtype=torch.int64, device="cpu")
        row = self.row(no_token, no_token)
        self.finish()
        return row

    def finish(self) -> None:
        """See `Vitals`."""
        self._write_logits()
        self._write_hidden()
        self._write_attention()

    def release(self) -> None:
        """See `Vitals`."""

    # Parts are forgotten once they are written, and not before: an interrupt may come at any moment, and what has not
    # been written then is written by `finish`.

    @torch.no_grad()
    def _write_logits(self) -> None:
        parts = self._logit_parts
        if not parts:
            return
        tokens = torch.from_numpy(np.concatenate([part[:, TOKEN] for part in parts]).astype(np.int64))
        measured = numbers_of(logit_signals(self._logits[: len(parts)].flatten(0, 1)), tokens)
        numbers = stacked("logits", measured, "step").view(len(parts), -1, len(LOGITS))
        _write([part[:, : len(LOGITS)] for part in parts], numbers)
        self._logit_parts = []

    @torch.no_grad()
    def _write_hidden(self) -> None:
        parts, inside = self._hidden_parts, self._inside
        if not parts or inside is None:
            return
        try:
            states = self._states[: len(parts)]
            _write(parts, inside.numbers.of_steps(states, ends=inside.ends))
            inside.numbers.go_on(states[-1, -1])
        except Exception as error:
            inside.fail(error)
        self._hidden_parts = []

    @torch.no_grad()
    def _write_attention(self) -> None:
        parts, inside = self._attention_parts, self._inside
        if not parts or inside is None:
            return
        try:
            _write(parts, inside.attention_of_steps(self._sums))
        except Exception as error:
            inside.fail(error)
        self._attention_parts, self._sums = [], []


def _write(parts: Sequence[Part], numbers: Tensor) -> None:
    """Write numbers [steps, sequences, numbers] where they belong."""
    for part, written in zip(parts, numbers.numpy(), strict=True):
        part[:] = written


def _room_for(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return room for several tensors of a shape."""
    one = torch.empty((1, *shape), dtype=dtype, device="cpu")
    steps = max(1, min(STEPS, KEPT_BYTES // max(1, one.nbytes)))
    return one if steps == 1 else torch.empty((steps, *shape), dtype=dtype, device="cpu")


def _alike(states: list[Tensor]) -> bool:
    first = states[0]
    return all(
        state.shape == first.shape and state.dtype is first.dtype and state.device.type == "cpu" for state in states
    )
