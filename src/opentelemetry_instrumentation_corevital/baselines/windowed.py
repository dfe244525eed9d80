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

Table = NDArray[np.float32]

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
class Rows:
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
        seen: the steps on which there was something to see, without the run's first [values].
        steps: one view [values, rows].
        windows: the other two, beside each other [windows, 2 * rows].
        first: row of the first number.
    """

    group: int
    seen: NDArray[np.intp]
    steps: Table
    windows: Table
    first: int

    @property
    def tables(self) -> tuple[tuple[Table, slice], ...]:
        """Return the numbers, each with its rows."""
        middle = self.first + self.steps.shape[1]
        steps = self.steps if len(self.steps) <= _FEW else self.steps[EVERY // 2 :: EVERY]
        return (
            (steps, slice(self.first, middle)),
            (self.windows, slice(middle, middle + self.windows.shape[1])),
        )


EVERY: Final = 4
"""Of so many single steps one is kept; what the others did is in their windows."""
_FEW: Final = 32
"""So many steps are all kept."""


def parts(run: Run, rows: Rows) -> Iterator[Part]:
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


def _part(group: int, measured: Mapping[str, Values], rows: Rows, first: int) -> Part:
    one = next(iter(measured.values()))[1:]
    seen = np.flatnonzero(np.isfinite(one).any(1))
    whole = len(seen) == len(one)
    steps = np.full((len(seen), rows.widths[group]), np.nan, np.float32)
    at = 0
    for name in GROUPS[group]:
        width = rows.width(name)
        if name in measured:
            steps[:, at : at + width] = measured[name][1:] if whole else measured[name][1:][seen]
        at += width
    return Part(group, seen + 1, steps, _windows(steps), first)


def _windows(steps: Table) -> Table:
    """Return medians and largest values of windows [windows, 2 * rows]; NaN where a number of one is missing."""
    count = len(steps) // WINDOW
    table = steps[: count * WINDOW].reshape(count, WINDOW, steps.shape[1])
    slabs = list(np.ascontiguousarray(table.transpose(1, 0, 2)))
    free = np.empty_like(slabs[0])
    for one, other in _SORTING:
        np.minimum(slabs[one], slabs[other], out=free)
        np.maximum(slabs[one], slabs[other], out=slabs[other])
        slabs[one], free = free, slabs[one]
    medians = slabs[3] + slabs[4]
    medians /= np.float32(2)
    return np.concatenate([medians, slabs[7]], axis=1)
