"""What a signal row holds, and how the rows of a run become its columns.

A row is float32 [sequences, width]: the logit signals with the chosen token and the stop flag, the step's likeliest
tokens where they are wanted (their gaps, then their ids: see `definitions/likeliest_tokens.py`), then one block for
each family of signals that the run has, in the order of `catalogue.signals`. First come the families of every step,
then those of the steps on which attention is sampled: so a row without attention is the beginning of one with it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..._internal.alternatives import Alternatives
from ...catalogue import signals
from ...catalogue.signal import Family, Signal

LOGITS: Final[Mapping[str, int]] = {name: at for at, name in enumerate(signals.names(signals.of_family("logits")))}
"""Logit signal -> its position in the row."""
TOKEN: Final = len(LOGITS)
"""Position of the chosen token."""
DONE: Final = len(LOGITS) + 1
"""Position of the flag that the sequence is done."""
LOGIT_WIDTH: Final = len(LOGITS) + 2


def offsets(family: str) -> dict[str, int]:
    """Return the positions of a family's signals among the numbers of one layer."""
    return {each.name: at for at, each in enumerate(signals.of_family(family, "layer", "head"))}


def step_offsets(family: str) -> dict[str, int]:
    """Return the positions of a family's signals of the step, behind the numbers of its last layer."""
    return {each.name: at for at, each in enumerate(signals.of_family(family, "step"))}


@dataclass(frozen=True, slots=True)
class Block:
    """One family's part of a row: the numbers of each of its layers, layer by layer, then those of the step."""

    family: Family
    layers: tuple[int, ...]
    """Indices of the layers, in the order of the row."""
    heads: int
    """Numbers of each signal of a layer: 1, or one for each of its heads."""
    start: int
    """Position in the row."""
    of_layer: tuple[Signal, ...]
    of_step: tuple[Signal, ...]

    @property
    def layer_width(self) -> int:
        """Return how many numbers one layer has."""
        return len(self.of_layer) * self.heads

    @property
    def width(self) -> int:
        """Return how many numbers the block has."""
        return len(self.layers) * self.layer_width + len(self.of_step)

    @property
    def end(self) -> int:
        """Return the position behind the block."""
        return self.start + self.width

    @property
    def span(self) -> slice:
        """Return the block's place in a row."""
        return slice(self.start, self.end)

    def place(self, layer: int) -> int:
        """Return the position of a layer's first number.

        Raises:
            ValueError: if the block does not have the layer.
        """
        return self.start + self.layers.index(layer) * self.layer_width


@dataclass(frozen=True)
class Layout:
    """Which families a run's rows have, and of which layers."""

    layer_count: int
    layers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Family -> indices of its layers, in the order of the row; one without layers is not in the row."""
    heads: Mapping[str, int] = field(default_factory=dict)
    """Family of signals of single heads -> heads of each of its layers."""
    alternatives: int = 0
    """How many of a step's likeliest tokens a row has."""

    @property
    def start(self) -> int:
        """Return the position behind what a row has of its logits."""
        return LOGIT_WIDTH + 2 * self.alternatives

    def having(self, family: str, layers: tuple[int, ...], heads: int = 1) -> "Layout":
        """Return the layout with a family's numbers of these layers, and of so many heads of each of them."""
        return replace(self, layers={**self.layers, family: layers}, heads={**self.heads, family: heads})

    def without(self, family: str) -> "Layout":
        """Return the layout without a family."""
        return self.having(family, ())

    def of(self, family: str) -> tuple[int, ...]:
        """Return the layers of a family; none where the row does not have it."""
        return self.layers.get(family, ())

    @cached_property
    def blocks(self) -> Mapping[str, Block]:
        """Return the blocks of the families that are in the row, in its order."""
        found: dict[str, Block] = {}
        start = self.start
        for each in signals.layered():
            layers = self.of(each.name)
            if layers:
                of_layer, of_step = signals.of_family(each.name, "layer", "head"), signals.of_family(each.name, "step")
                block = Block(each, layers, self.heads.get(each.name, 1), start, of_layer, of_step)
                found[each.name], start = block, block.end
        return found

    @cached_property
    def every_step_width(self) -> int:
        """Return the width of a row of a step on which attention is not sampled."""
        return max((block.end for block in self.blocks.values() if block.family.every_step), default=self.start)

    @cached_property
    def full_width(self) -> int:
        """Return the width of a row of a step on which attention is sampled."""
        return max((block.end for block in self.blocks.values()), default=self.start)

    def width(self, *, attention: bool) -> int:
        """Return the width of a row of a step on which attention is sampled, or is not."""
        return self.full_width if attention else self.every_step_width

    def ends(self, family: str) -> bool:
        """Whether the model's last layer is among those of a family."""
        return self.of(family)[-1:] == (self.layer_count - 1,)


def logit_columns(rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return the logit signals of one sequence's rows [T, width]."""
    return {each.name: rows[:, at].astype(each.dtype) for at, each in enumerate(signals.of_family("logits"))}


def alternatives_of(rows: NDArray[np.float32], layout: Layout) -> Alternatives | None:
    """Return the likeliest tokens of one sequence's steps; None where its rows [T, width] do not have them."""
    if not layout.alternatives:
        return None
    gaps, ids = np.split(rows[:, LOGIT_WIDTH : layout.start], 2, axis=1)
    with np.errstate(invalid="ignore", under="ignore"):
        probabilities = rows[:, LOGITS["top1_prob"], None] * np.exp(-gaps)
    known = np.isfinite(gaps) & np.isfinite(probabilities)
    return Alternatives(probabilities, np.where(known, ids, -1.0).astype(np.int32))


def every_step_columns(
    rows: NDArray[np.float32], layout: Layout, absent: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return the signals of the families of every step: each [T, layers], or [T] for those of the step.

    Args:
        rows: of one sequence [T, width].
        layout: what is where in them.
        absent: groups that are not there, whatever the rows have in their place.
    """
    columns: dict[str, NDArray[Any]] = {}
    for block in layout.blocks.values():
        if block.family.every_step and block.family.group not in absent:
            columns |= _columns(rows[:, block.span], block, layout.layer_count)
    return columns


def attention_columns(
    rows: NDArray[np.float32], steps: NDArray[np.int64], count: int, layout: Layout
) -> dict[str, NDArray[Any]]:
    """Return the signals of the other families: each [count, layers], NaN on steps that were not looked at.

    Those of single heads are [count, layers of the family, heads].

    Args:
        rows: what the sequence's rows have behind the numbers of every step, in order.
        steps: whose they are.
        count: steps of the sequence.
        layout: what is where in the rows.
    """
    columns: dict[str, NDArray[Any]] = {}
    for block in layout.blocks.values():
        if not block.family.every_step:
            start = block.start - layout.every_step_width
            columns |= _columns(rows[:, start : start + block.width], block, layout.layer_count)
    return columns if len(steps) == count else {name: _spread(values, steps, count) for name, values in columns.items()}


def _spread(values: NDArray[np.float32], steps: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Return [count, ...] with the values at their steps and NaN elsewhere."""
    spread = np.full((count, *values.shape[1:]), np.nan, np.float32)
    spread[steps] = values
    return spread


def _columns(numbers: NDArray[np.float32], block: Block, layer_count: int) -> dict[str, NDArray[Any]]:
    """Return a block's signals from its numbers [T, width]; those of a layer are NaN for layers that it lacks."""
    by_layer = numbers[:, : len(block.layers) * block.layer_width]
    values = by_layer.reshape(len(numbers), len(block.layers), len(block.of_layer), block.heads)
    columns: dict[str, NDArray[Any]] = {}
    for at, each in enumerate(block.of_layer):
        if each.shape == "head":
            columns[each.name] = values[:, :, at].copy()
            continue
        column = np.full((len(numbers), layer_count), np.nan, np.float32)
        column[:, list(block.layers)] = values[:, :, at, 0]
        if each.of_neighbours:  # the row compares neighbours of the selection
            first = [layer for layer in block.layers if layer == 0 or layer - 1 not in block.layers]
            column[:, first] = np.nan
        columns[each.name] = column
    for at, each in enumerate(block.of_step, by_layer.shape[1]):
        columns[each.name] = numbers[:, at].copy()
    return columns
