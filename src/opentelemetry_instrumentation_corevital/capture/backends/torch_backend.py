"""Rows by torch's own operations, step by step, on every device."""

from collections.abc import Collection, Sequence
from typing import Final

import torch
from torch import Tensor

from ..collector.presence import Presence, in_row
from ..collector.step import Step
from ..definitions.logits import LogitSignals, logit_signals, numbers_of
from ..model.structure import AttentionKind
from ..model.targets import TARGETS
from ..row.host_transfer import Numbers
from ..row.layout import Layout
from ..row.stacking import ordered
from .hidden_state_numbers import HiddenNumbers
from .layer_reduction import flat, moved, reduce_outputs

_REDUCED: Final[Sequence[tuple[str, AttentionKind, int]]] = (
    ("attention", "self", 0),
    ("cross", "cross", 0),
    ("heads", "self", 1),
)
"""Family, kind of attention, and which of the two results of `StepAttention.reduced` its numbers are."""


class TorchBackend:
    """See `backend.Backend`."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._hidden = HiddenNumbers()
        self._signals: LogitSignals | None = None
        self._parts: Sequence[Tensor] = ()

    @torch.no_grad()
    def measure(self, step: Step) -> None:
        """See `Backend`."""
        assert step.logits is not None
        layout = self._presence.layout
        self._signals, self._parts = logit_signals(step.logits, layout.alternatives), ()
        try:
            self._parts = in_row(layout, parts_of(step, self._hidden, layout, layout.blocks), step)
        except Exception as error:
            self._presence.fail(error)

    def row(self, step: Step) -> Tensor:
        """See `Backend`."""
        signals, tokens, done = self._signals, step.tokens, step.done
        assert signals is not None
        assert tokens is not None
        assert done is not None
        numbers = ordered("logits", numbers_of(signals, tokens), "step")
        row = torch.stack((*numbers, tokens.float(), done.float()), dim=-1)
        alternatives = () if signals.alternatives is None else (signals.alternatives,)
        return torch.cat((row, *alternatives, *self._parts), dim=-1) if alternatives or self._parts else row

    def reorder(self, parents: Tensor) -> None:
        """See `Backend`."""
        self._hidden.reorder(parents)

    def break_off(self) -> None:
        """See `Backend`."""
        self._hidden.break_off()

    def read(self, row: Tensor) -> Numbers:
        """See `Backend`."""
        numbers: Numbers = row.cpu().numpy()
        return numbers

    def finish(self) -> None:
        """See `Backend`."""

    def release(self) -> None:
        """See `Backend`."""


def parts_of(step: Step, numbers: HiddenNumbers, layout: Layout, families: Collection[str]) -> dict[str, Tensor]:
    """Return what a step has of some families: family -> its numbers [sequences, numbers]."""
    parts: dict[str, Tensor] = {}
    if "hidden" in families:
        parts |= hidden_parts(step, numbers, layout)
    if "attention" in families:
        parts |= attention_parts(step, layout)
    return parts | {family: part for family, part in output_parts(step).items() if family in families}


def hidden_parts(step: Step, numbers: HiddenNumbers, layout: Layout) -> dict[str, Tensor]:
    """Return a step's numbers of hidden states: family -> [sequences, numbers]; nothing where it has none."""
    if step.hidden is None:
        numbers.break_off()
        return {}
    return {"hidden": numbers.of_step(step.hidden.states, step.device, ends=layout.ends("hidden"))}


def output_parts(step: Step) -> dict[str, Tensor]:
    """Return a step's numbers of outputs of modules inside the layers: family -> [sequences, numbers]."""
    return {
        target.family: flat(reduce_outputs(target.family, outputs, target.reduce, step.device))
        for target in TARGETS
        if (outputs := step.outputs.get(target.family))
    }


def attention_parts(step: Step, layout: Layout) -> dict[str, Tensor]:
    """Return a step's numbers of attention: family -> [sequences, numbers]; nothing where it has none."""
    attention = step.attention
    if attention is None:
        return {}
    if step.plan is None:
        attention.reduce()
    else:
        attention.reduce_plan(step.plan)
    return {
        family: flat(torch.stack([moved(attention.reduced[kind, layer][which], step.device) for layer in layers]))
        for family, kind, which in _REDUCED
        if (layers := layout.of(family))
    }
