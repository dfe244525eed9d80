"""How far out every window of many runs is at once: what rules are tried on without judging the runs again.

`Stack` has the windows of many runs under each other; `excess` compares them with what was usual at some moment, by the
same definition as the product's run number: the distance from the median over that of the outer quantile on its side,
which is floored.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.deviation import first_nonfinite
from opentelemetry_instrumentation_corevital.baselines.profiled_signals import LAYER_SIGNALS, WINDOW
from opentelemetry_instrumentation_corevital.baselines.windowed import GROUPS, VIEWS, Part, TableRows
from opentelemetry_instrumentation_corevital.run import Run

from .lessons import Ruler

Pair = tuple[str, str]
"""View and signal."""

PAIRS: Final[tuple[Pair, ...]] = tuple((view, signal) for view in VIEWS[1:] for signal in LAYER_SIGNALS)
"""Medians and largest values of windows, of every layer signal; single steps of a window are not kept in the zoo."""

Floats = NDArray[np.float32]
_SMALLEST: Final = np.float32(2**-16)
"""Less than this is what rounding leaves."""


@dataclass(frozen=True)
class Stack:
    """The windows of some runs, those of a run in the order of their steps.

    Attributes:
        numbers: medians and largest values [windows, pairs, layers], NaN where there is none.
        run: which of the runs a window is of [windows], ascending.
        start: first step of the window [windows].
        runs: how many there are.
    """

    numbers: Floats
    run: NDArray[np.intp]
    start: NDArray[np.intp]
    runs: int

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """Return the number of windows of each run [runs]."""
        return np.bincount(self.run, minlength=self.runs)

    def of(self, chosen: Sequence[int]) -> "Stack":
        """Return the stack of some of the runs, in ascending order, which get new numbers."""
        place = np.full(self.runs, -1)
        place[list(chosen)] = np.arange(len(chosen))
        keep = place[self.run] >= 0
        return Stack(self.numbers[keep], place[self.run[keep]], self.start[keep], len(chosen))

    def worst(self, values: Floats) -> Floats:
        """Return the largest of each run over its windows [runs, ...]; 0 where it has none."""
        found = np.zeros((self.runs, *values.shape[1:]), np.float32)
        if len(values):
            some = np.flatnonzero(self.counts)
            first = np.searchsorted(self.run, some)
            found[some] = np.maximum.reduceat(values, first, axis=0)
        return found


def stacked(runs: Sequence[Run], found: Sequence[Sequence[Part]]) -> Stack:
    """Return the windows of runs before anything was not finite.

    Args:
        runs: of one model.
        found: their parts, see `windowed.parts`.
    """
    rows = TableRows(runs[0].model.layer_count or 0)
    tables, numbers, starts = [], [], []
    for number, (run, some) in enumerate(zip(runs, found, strict=True)):
        end = first_nonfinite(run)
        at = sorted({start for part in some for start in part.starts.tolist() if start + WINDOW <= end})
        table = np.full((len(at), len(PAIRS), rows.layers), np.nan, np.float32)
        for part in some:
            inside = np.isin(part.starts, at)
            where = np.searchsorted(at, part.starts[inside])
            _fill(table, where, part, inside, rows)
        tables.append(table)
        numbers.append(np.full(len(at), number))
        starts.append(np.array(at, np.intp))
    return Stack(np.concatenate(tables), np.concatenate(numbers), np.concatenate(starts), len(runs))


def _fill(table: Floats, where: NDArray[np.intp], part: Part, inside: NDArray[np.bool_], rows: TableRows) -> None:
    for signal in GROUPS[part.group]:
        if signal not in LAYER_SIGNALS:
            continue
        for view in VIEWS[1:]:
            own = rows.of(view, signal)
            columns = slice(own.start - part.rows.start, own.stop - part.rows.start)
            table[where, PAIRS.index((view, signal))] = part.table[inside, columns]


@dataclass(frozen=True, slots=True)
class Unit:
    """In what a number is far out: the distance of an outer quantile from the median, but at least something."""

    level: float
    """Of the outer quantile: one of `lessons.OUTER`."""
    fraction: float
    """At least this fraction of the median distance over the model's layers ..."""
    least: float
    """... and this, ..."""
    least_of: tuple[tuple[str, float], ...] = ()
    """... of some signals this."""
    logarithms: tuple[str, ...] = ()
    """Signals that are compared by their log2."""

    def taken(self, values: Floats) -> Floats:
        """Return numbers [..., pairs, layers] as they are compared."""
        some = [number for number, (_, signal) in enumerate(PAIRS) if signal in self.logarithms]
        if some:
            values = values.copy()
            with np.errstate(invalid="ignore"):
                values[..., some, :] = np.log2(np.maximum(values[..., some, :], _SMALLEST))
        return values


@dataclass(frozen=True, slots=True)
class Scale:
    """What windows are compared with: the median, and one over the distances to the quantiles [pairs, layers]."""

    unit: Unit
    centre: Floats
    per_high: Floats
    per_low: Floats

    @classmethod
    def of(cls, ruler: Ruler, unit: Unit, rows: TableRows) -> "Scale":
        """Return that of a ruler."""
        places = [rows.of(*pair) for pair in PAIRS]
        low, centre, high = (
            unit.taken(np.stack([values[place] for place in places]))
            for values in (ruler.low[unit.level], ruler.centre, ruler.high[unit.level])
        )
        known = np.isfinite(low) & np.isfinite(centre) & np.isfinite(high)
        leasts = dict(unit.least_of)
        least = np.array([[leasts.get(signal, unit.least)] for _, signal in PAIRS])
        per = []
        for distance in (high - centre, centre - low):
            measured = np.where(known, distance, np.nan)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of a signal that the model has not
                usual = unit.fraction * np.nanmedian(measured, axis=1, keepdims=True)
            floor = np.fmax(usual, least)
            per.append(np.where(known, 1 / np.fmax(measured, floor), 0).astype(np.float32))
        return cls(unit, np.where(known, centre, 0).astype(np.float32), *per)


def excess(stack: Stack, scale: Scale) -> Floats:
    """Return how far out each number of a stack is [windows, pairs, layers]; 0 where there is none."""
    away = scale.unit.taken(stack.numbers) - scale.centre
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.maximum(away * scale.per_high, -away * scale.per_low)
    return np.where(np.isfinite(found), found, np.float32(0))
