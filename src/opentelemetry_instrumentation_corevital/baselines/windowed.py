"""A run's numbers as a learned baseline knows them: rows of a table, as single steps and as windows of 8 steps.

A row is one signal of one layer, or one signal of the whole run. Its numbers are seen in three ways: step by step, as
the medians of windows that follow each other (what a token does is gone in them), and as the windows' largest values
(what a single step does). Windows are those of `profiled_signals.windows`, but one in which a number is missing counts
as missing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..catalogue.signals import names, of_family
from ..run import Run
from .profiled_signals import LAYER_SIGNALS, STEP_SIGNALS, WINDOW, Values, layer_signals, step_signals
from .sketches import NumberTable

VIEWS: Final = ("steps", "windows", "maxima")
"""How the numbers of a row are seen: single steps, medians of windows, largest values of windows."""

_OF_ATTENTION: Final = {*names(of_family("attention")), "prompt_focus", "collapsed_share", "attention_entropy_change"}
"""Signals that are there only on the steps on which attention is looked at."""

GROUPS: Final = tuple(
    tuple(name for name in (*LAYER_SIGNALS, *STEP_SIGNALS) if (name in _OF_ATTENTION) is attention)
    for attention in (False, True)
)
"""Signals that are looked at on the same steps."""

_SORTING: Final = (
    *((0, 1), (2, 3), (4, 5), (6, 7)),
    *((0, 2), (1, 3), (4, 6), (5, 7), (1, 2), (5, 6)),
    *((0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6)),
)
"""Batcher's network, which sorts eight: the same exchanges for all windows at once take a fraction of a sort's time."""


@dataclass(frozen=True)
class TableRows:
    """Which row is whose. The signals of a group follow each other, seen in the first way, then in the others.

    Attributes:
        layers: number of the model's layers.
    """

    layers: int

    def width(self, signal: str) -> int:
        """Return how many rows a signal has in each view."""
        return self.layers if signal in LAYER_SIGNALS else 1

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Return how many rows each group has in each view."""
        return tuple(sum(map(self.width, group)) for group in GROUPS)

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return len(VIEWS) * sum(self.widths)

    @cached_property
    def _firsts(self) -> Mapping[tuple[str, str], int]:
        firsts, base = {}, 0
        for group in GROUPS:
            for view in VIEWS:
                for signal in group:
                    firsts[view, signal] = base
                    base += self.width(signal)
        return firsts

    def of(self, view: str, signal: str) -> slice:
        """Return the rows of a signal."""
        first = self._firsts[view, signal]
        return slice(first, first + self.width(signal))


@dataclass(frozen=True, slots=True)
class Part:
    """The numbers of a group's rows.

    Attributes:
        group: which of `GROUPS`.
        starts: the first step of each window [windows].
        table: of each window one step, the median and the largest value [windows, 3 * rows], the views beside each
            other.
        rows: which rows these are.
    """

    group: int
    starts: NDArray[np.intp]
    table: NumberTable
    rows: slice


_KEPT: Final = WINDOW // 2
"""Of the single steps of a window this one is kept; what the others did is in its median and its largest value."""


def parts(run: Run, rows: TableRows) -> Iterator[Part]:
    """Yield the numbers of a run, NaN where one was not measured.

    Signals of another number of layers count as not measured.
    """
    found = {**layer_signals(run), **{name: values[:, None] for name, values in step_signals(run).items()}}
    first = 0
    for group, (signals, width) in enumerate(zip(GROUPS, rows.widths, strict=True)):
        measured = {name: found[name] for name in signals if name in found and found[name].shape[1] == rows.width(name)}
        if measured:
            yield _part(group, measured, rows, first)
        first += len(VIEWS) * width


def _part(group: int, measured: Mapping[str, Values], rows: TableRows, first: int) -> Part:
    one = next(iter(measured.values()))[1:]
    seen = np.flatnonzero(np.isfinite(one).any(1))
    whole = len(seen) == len(one)
    count, width = len(seen) // WINDOW, rows.widths[group]
    steps = np.full((count * WINDOW, width), np.nan, np.float32)
    at = 0
    for name in GROUPS[group]:
        wide = rows.width(name)
        if name in measured:
            values = measured[name][1:] if whole else measured[name][1:][seen]
            steps[:, at : at + wide] = values[: len(steps)]
        at += wide
    where = slice(first, first + len(VIEWS) * width)
    return Part(group, seen[: len(steps) : WINDOW] + 1, _views(steps.reshape(count, WINDOW, width)), where)


def _views(windows: NDArray[np.float32]) -> NumberTable:
    """Return one step, the median and the largest value of windows [windows, WINDOW, rows]; see `Part`.

    NaN where a number of the window is missing, but for the step.
    """
    slabs = list(np.ascontiguousarray(windows.transpose(1, 0, 2)))
    free = np.empty_like(slabs[0])
    for one, other in _SORTING:
        np.minimum(slabs[one], slabs[other], out=free)
        np.maximum(slabs[one], slabs[other], out=slabs[other])
        slabs[one], free = free, slabs[one]
    medians = slabs[3] + slabs[4]
    medians /= np.float32(2)
    return np.concatenate([windows[:, _KEPT], medians, slabs[7]], axis=1)
