"""Which of the model's internals the rows of a run have, and why the others are missing: decided here alone.

At each step a family of signals is one of these:

- there, of the layers of the first step that had it: that step lays the row out, later ones have to be like it;
- missing at this step: its numbers are NaN. A family of every step keeps its place in the row, empty (`in_row`); the
  others are left out of that row, which is shorter, and are NaN in the run's columns;
- missing for the rest of the run (`lose`): it is absent with a reason, whatever earlier steps had of it. A place that
  rows already have stays, empty.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._internal.safety import report_internal_error
from ...catalogue import signals
from ..row.layout import Layout
from .step import Step

HIDDEN_STATES: Final = "hidden_states"
ATTENTION: Final = "attention"

GROUPS: Final = tuple(dict.fromkeys(family.group for family in signals.layered() if not family.some_models))
"""The internals that every model has, as `absent` names them: each a group of families that come and go together."""


class Presence:
    """Keeps the layout of a call's rows and what is absent from them.

    Attributes:
        layout: of the rows, as far as steps have made it.
        groups: the internals that the model has.
        absent: group -> why the whole run is without it.
        step: index of the step under way.
    """

    def __init__(self, layer_count: int, alternatives: int = 0) -> None:
        self.layout = Layout(layer_count, alternatives=alternatives)
        self.groups = GROUPS
        self.absent: dict[str, str] = {}
        self.step = 0

    def expect(self, family: str) -> None:
        """Take note that the model has a family that only some models have."""
        self.groups = (*self.groups, signals.family(family).group)

    def fits(self, family: str, layers: tuple[int, ...], heads: int = 1) -> bool:
        """Whether a family is there of the layers for which the row has a place. The first step makes that place.

        Args:
            family: its name.
            layers: of this step, in order.
            heads: of each of them, for signals of single heads.
        """
        if self.step == 0:
            self.layout = self.layout.having(family, layers, heads)
        return self.layout.of(family) == layers

    def lose(self, group: str, reason: str) -> None:
        """Declare a group absent in the whole run."""
        self.absent[group] = reason
        if self.step == 0:  # no row has had it: none needs its place
            for family in signals.layered():
                if family.group == group and family.every_step:
                    self.layout = self.layout.without(family.name)

    def lose_all(self, reason: str) -> None:
        """Declare all internals absent."""
        for group in self.groups:
            self.lose(group, reason)

    def fail(self, error: Exception) -> None:
        """Declare all internals absent after an error of our own."""
        self.lose_all(f"internal error ({type(error).__name__})")
        report_internal_error("capture.inside", error)


def in_row(layout: Layout, parts: Mapping[str, Tensor], step: Step) -> list[Tensor]:
    """Return what a step's row has behind its logits, in order: each part [sequences, numbers].

    Args:
        layout: of the row.
        parts: family -> its numbers, of those that the step has.
        step: the step.
    """
    return [
        parts[name] if name in parts else _empty(step, block.width)
        for name, block in layout.blocks.items()
        if name in parts or block.family.every_step
    ]


def _empty(step: Step, width: int) -> Tensor:
    return torch.full((step.sequences, width), torch.nan, dtype=torch.float32, device=step.device)


def why_no_attention(steps: int, columns: Mapping[str, NDArray[Any]]) -> str | None:
    """Return why a run that did not lose its attention has none at all, None where it has some.

    Args:
        steps: how many of the run's rows have attention.
        columns: name -> numbers of them, NaN at the other steps.
    """
    if not steps:
        return "queries or keys were overwritten before they were read"
    if np.isnan(columns["attention_entropy"]).all():
        return "what attention returned was not finite, or no weights, at any step"
    return None
