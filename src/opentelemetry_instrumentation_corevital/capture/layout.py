"""What a vitals row holds, and how the rows of a run become its columns.

A row is float32 [sequences, width]: the logit signals with the chosen token and the stop flag, then every layer's
hidden statistics, then, on the steps on which attention is looked at, every layer's attention statistics. So a row
without attention is the beginning of one with it.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..run import COLUMNS, CROSS_SIGNALS, HIDDEN_SIGNALS, NONFINITE_COUNTS, SELF_SIGNALS

TOKEN: Final = len(COLUMNS)
"""Position of the chosen token."""
DONE: Final = len(COLUMNS) + 1
"""Position of the flag that the sequence is done."""
LOGIT_WIDTH: Final = len(COLUMNS) + 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Which layers a run's rows are about, each as indices of layers in the order of the row."""

    layer_count: int
    hidden: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    cross: tuple[int, ...] = ()
    previous: tuple[int, ...] = ()
    """Layers whose heads' weight on the previous key is kept head by head."""
    heads: int = 0
    """Heads of each of those."""

    @property
    def hidden_width(self) -> int:
        """Return the numbers that hidden states take in a row: their statistics and one cosine."""
        return len(self.hidden) * len(HIDDEN_SIGNALS) + 1 if self.hidden else 0

    @property
    def attention_width(self) -> int:
        """Return the numbers that attention takes: its statistics, and the middle layers' heads."""
        statistics = len(self.attention) * len(SELF_SIGNALS) + len(self.cross) * len(CROSS_SIGNALS)
        return statistics + len(self.previous) * self.heads


def logit_columns(rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return the logit signals of one sequence's rows [T, width]."""
    return {
        name: rows[:, position].astype(np.int32) if name in NONFINITE_COUNTS else rows[:, position].copy()
        for position, name in enumerate(COLUMNS)
    }


def hidden_columns(rows: NDArray[np.float32], layout: Layout) -> dict[str, NDArray[Any]]:
    """Return the hidden-state signals of one sequence's rows: each [T, layers], `hidden_cosine` [T]."""
    block = rows[:, LOGIT_WIDTH : LOGIT_WIDTH + layout.hidden_width]
    columns = _by_layer(block[:, :-1], HIDDEN_SIGNALS, layout.hidden, layout.layer_count)
    transformation = columns["layer_transformation"]
    for before, layer in zip((-1, *layout.hidden), layout.hidden, strict=False):
        if before != layer - 1 or layer == 0:  # the row compares neighbours of the selection
            transformation[:, layer] = np.nan
    columns["hidden_cosine"] = block[:, -1].copy()
    return columns


def attention_columns(
    rows: NDArray[np.float32], steps: NDArray[np.int64], count: int, layout: Layout
) -> dict[str, NDArray[Any]]:
    """Return the attention signals of one sequence: each [count, layers], NaN on steps that were not looked at.

    `attention_previous_heads` is [count, middle layers, heads].

    Args:
        rows: the attention parts of the sequence's rows, in order.
        steps: whose they are.
        count: steps of the sequence.
        layout: what is where in the rows.
    """
    start = 0
    columns: dict[str, NDArray[Any]] = {}
    for layers, names in ((layout.attention, SELF_SIGNALS), (layout.cross, CROSS_SIGNALS)):
        width = len(layers) * len(names)
        if width:
            columns |= _by_layer(rows[:, start : start + width], names, layers, layout.layer_count)
        start += width
    if layout.previous:
        heads = rows[:, start : start + len(layout.previous) * layout.heads]
        columns["attention_previous_heads"] = heads.reshape(len(rows), len(layout.previous), layout.heads).copy()
    return columns if len(steps) == count else {name: _spread(values, steps, count) for name, values in columns.items()}


def _spread(values: NDArray[np.float32], steps: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Return [count, ...] with the values at their steps and NaN elsewhere."""
    spread = np.full((count, *values.shape[1:]), np.nan, np.float32)
    spread[steps] = values
    return spread


def _by_layer(
    block: NDArray[np.float32], names: tuple[str, ...], layers: tuple[int, ...], layer_count: int
) -> dict[str, NDArray[Any]]:
    """Return each signal as [T, layer_count] from a block [T, layers x signals]; NaN for layers that it lacks."""
    values = block.reshape(len(block), len(layers), len(names))
    columns = {}
    for position, name in enumerate(names):
        column = np.full((len(block), layer_count), np.nan, np.float32)
        column[:, list(layers)] = values[:, :, position]
        columns[name] = column
    return columns
