"""Rows of a model on the CPU, the numbers of several steps reduced together.

There the model's weights have just been through the caches and a step's tensors are small: what an operation costs is
its start, and several steps together cost little more than one. What is kept until then are copies, of a bounded size.
Of attention only what depends on the keys is reduced at once: every step has others. Outputs of modules inside the
layers (see `targets`), which few models have, are reduced step by step.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ..collector.presence import Presence
from ..collector.step import LayerStates, Step
from ..definitions.attention_weights import AttentionSums, VisibleKeys, attention_signals, over_heads
from ..definitions.logits import logit_signals, numbers_of
from ..row.host_transfer import Numbers, RowTransfer
from ..row.layout import DONE, LOGIT_WIDTH, LOGITS, TOKEN, Layout
from ..row.stacking import stacked
from .hidden_state_numbers import HiddenNumbers
from .torch_backend import attention_parts, hidden_parts, output_parts

STEPS: Final = 8
"""Steps that are reduced together, at most."""

KEPT_BYTES: Final = 768 * 1024
"""What their logits may take, and their hidden states: more would leave a core's own cache before it is reduced."""

Sums = tuple[AttentionSums, VisibleKeys]
"""A step's attention, summed over the keys, and which keys these were."""


class BatchedBackend:
    """Rows that are pushed step by step and written later, see `backend.Backend`.

    Args:
        presence: of the call.
        transfer: gives memory for rows, all of it NaN.
    """

    def __init__(self, presence: Presence, transfer: RowTransfer) -> None:
        self._presence = presence
        self._transfer = transfer
        self._numbers = HiddenNumbers()
        self._logits = torch.empty(0, 0, 0, device="cpu")
        """[steps, sequences, vocabulary], one for each of `_logit_rows`."""
        self._states = torch.empty(0, device="cpu")
        """[steps, layers, sequences, D], one for each of `_hidden_rows`."""
        self._sums: list[Sums] = []
        """One for each of `_attention_rows`."""
        # Rows [sequences, width] that wait for these numbers.
        self._logit_rows: list[Numbers] = []
        self._hidden_rows: list[Numbers] = []
        self._attention_rows: list[Numbers] = []
        # Of the step under way: what is left for later, and what is not, family -> [sequences, numbers].
        self._keeps_states = False
        self._alike: tuple[torch.Size, torch.dtype] | None = None
        """Shape and dtype of states that can be kept together."""
        self._keeps_sums: Sums | None = None
        self._parts: dict[str, Tensor] = {}

    @torch.no_grad()
    def measure(self, step: Step) -> None:
        """See `Backend`."""
        logits = step.logits
        assert logits is not None
        if self._logits.shape[1:] != logits.shape:
            self._write_logits()
            self._logits = _room_for(logits.shape, torch.float32)
        self._logits[len(self._logit_rows)].copy_(logits)
        self._forget()
        try:
            self._take_states(step)
            self._take_attention(step)
            self._parts |= output_parts(step)
        except Exception as error:
            self._forget()
            self._presence.fail(error)

    def _forget(self) -> None:
        self._keeps_states, self._keeps_sums, self._parts = False, None, {}

    def _take_states(self, step: Step) -> None:
        if step.hidden is not None and self._takes(step.hidden):
            self._keep(step.hidden.states)
            self._keeps_states = True
        else:
            self._write_hidden()
            self._parts |= hidden_parts(step, self._numbers, self._presence.layout)

    def _takes(self, hidden: LayerStates) -> bool:
        """Whether the states can be kept together; asked tensor by tensor only of others than before."""
        if hidden.alike is not None and hidden.alike == self._alike:
            return True
        takes = _alike(hidden.states)
        self._alike = hidden.alike if takes else None
        return takes

    def _keep(self, states: list[Tensor]) -> None:
        first = states[0]
        shape, dtype = (len(states), first.shape[0], first.shape[-1]), first.dtype
        if self._states.shape[1:] != shape or self._states.dtype is not dtype:
            self._write_hidden()
            self._states = _room_for(shape, dtype)
        torch.cat(states, out=self._states[len(self._hidden_rows)].view(-1, *first.shape[1:]))

    def _take_attention(self, step: Step) -> None:
        layout = self._presence.layout
        if step.attention is not None and step.plan is not None:
            self._keeps_sums = step.attention.sum_plan(step.plan, layout.of("attention"))
        if self._keeps_sums is None:
            self._parts |= attention_parts(step, layout)

    def row(self, step: Step) -> Tensor:
        """See `Backend`. What is left for later is not written yet."""
        tokens, done, layout = step.tokens, step.done, self._presence.layout
        assert tokens is not None
        assert done is not None
        attends = "attention" in self._parts or self._keeps_sums is not None
        row = self._transfer.room(step.sequences, layout.width(attention=attends))
        numbers = row.numpy()
        numbers[:, TOKEN], numbers[:, DONE] = tokens.numpy(), done.numpy()
        for family, part in self._parts.items():
            numbers[:, layout.blocks[family].span] = part.numpy()
        self._logit_rows.append(numbers)
        if self._keeps_states:
            self._hidden_rows.append(numbers)
        if self._keeps_sums is not None:
            self._sums.append(self._keeps_sums)
            self._attention_rows.append(numbers)
        self._write_full()
        return row

    def _write_full(self) -> None:
        """Write the numbers of those steps for which there is no more room."""
        if len(self._logit_rows) == len(self._logits):
            self._write_logits()
        if self._hidden_rows and len(self._hidden_rows) == len(self._states):
            self._write_hidden()
        if len(self._attention_rows) == STEPS:
            self._write_attention()

    def reorder(self, parents: Tensor) -> None:
        """See `Backend`."""
        self._write_hidden()  # those of the steps before, whose sequences are in the old order
        self._numbers.reorder(parents)

    def break_off(self) -> None:
        """See `Backend`."""
        self._write_hidden()
        self._numbers.break_off()

    def read(self, row: Tensor) -> Numbers:
        """See `Backend`."""
        self.finish()
        numbers: Numbers = row.numpy()
        return numbers

    def finish(self) -> None:
        """See `Backend`."""
        self._write_logits()
        self._write_hidden()
        self._write_attention()

    def release(self) -> None:
        """See `Backend`."""

    # Rows are forgotten once they are written, and not before: an interrupt may come at any moment, and what has not
    # been written then is written by `finish`.

    @torch.no_grad()
    def _write_logits(self) -> None:
        rows = self._logit_rows
        if not rows:
            return
        tokens = torch.from_numpy(np.concatenate([row[:, TOKEN] for row in rows]).astype(np.int64))
        layout = self._presence.layout
        found = logit_signals(self._logits[: len(rows)].flatten(0, 1), layout.alternatives)
        numbers = stacked("logits", numbers_of(found, tokens), "step").view(len(rows), -1, len(LOGITS))
        _write([row[:, : len(LOGITS)] for row in rows], numbers)
        if found.alternatives is not None:
            _write(
                [row[:, LOGIT_WIDTH : layout.start] for row in rows],
                found.alternatives.view(len(rows), -1, 2 * layout.alternatives),
            )
        self._logit_rows = []

    @torch.no_grad()
    def _write_hidden(self) -> None:
        rows, layout = self._hidden_rows, self._presence.layout
        if not rows:
            return
        try:
            states, span = self._states[: len(rows)], layout.blocks["hidden"].span
            _write([row[:, span] for row in rows], self._numbers.of_steps(states, ends=layout.ends("hidden")))
            self._numbers.go_on(states[-1, -1])
        except Exception as error:
            self._presence.fail(error)
        self._hidden_rows = []

    @torch.no_grad()
    def _write_attention(self) -> None:
        rows, layout = self._attention_rows, self._presence.layout
        if not rows:
            return
        try:
            for family, numbers in _attention_of_steps(self._sums, layout).items():
                span = layout.blocks[family].span
                _write([row[:, span] for row in rows], numbers)
        except Exception as error:
            self._presence.fail(error)
        self._attention_rows, self._sums = [], []


def _attention_of_steps(kept: Sequence[Sums], layout: Layout) -> dict[str, Tensor]:
    """Return all numbers of several steps' attention: family -> float32 [steps, sequences, numbers]."""
    first = kept[0][0].total
    joined = torch.stack([each for sums, _ in kept for each in sums]).view(len(kept), -1, *first.shape)
    seen, prompt = (torch.stack([getattr(keys, name) for _, keys in kept])[:, None] for name in ("seen", "prompt"))
    row = attention_signals(AttentionSums(*joined.unbind(1)), seen, prompt)
    numbers = {"attention": stacked("attention", over_heads(row)).transpose(1, 2).flatten(2)}
    layers, of_heads = layout.of("attention"), layout.of("heads")
    if of_heads:
        by_head = row.previous[:, [layers.index(layer) for layer in of_heads]]
        numbers["heads"] = by_head.transpose(1, 2).flatten(2)
    return numbers


def _write(parts: Sequence[Numbers], numbers: Tensor) -> None:
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
