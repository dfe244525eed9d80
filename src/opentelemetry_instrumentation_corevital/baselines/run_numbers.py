"""One number that says how far out a run is, and the limit that so many healthy runs stay below.

The number is the largest excess of a window over all layers: how far its median or its largest value is from what is
usual for that layer and signal, in units of the distance to the 0.1 % quantile on that side. Longer runs have more
windows, and so a larger one among them: that is divided out. Which signals count, and how, stands in this file alone.

The limit is a conformal quantile: the number of a new healthy run is as likely to take any place among those of the
healthy runs before it, so that it is the largest of n with probability 1 / (n + 1), whatever their distribution.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, log2
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ..run import Run
from .sketches import Sketches
from .windowed import GROUPS, VIEWS, Part, TableRows, parts

ALPHA: Final = 0.005
"""Fraction of a model's healthy runs that may be beyond the limit, on average over baselines ..."""
MANY_RUNS: Final = 200
"""... from so many runs on; below, it is one of as many as there are."""
FEWEST_RUNS: Final = 50
"""Below so many runs there is no limit, and no flag rests on the baseline."""

_FEWEST_NUMBERS: Final = 25
"""NumberSample of runs without which there is no limit: the very first runs have none."""

COUNTED: Final = (
    ("windows", "log2_gain"),
    ("windows", "layer_transformation"),
    ("windows", "attention_entropy"),
    ("windows", "collapsed_head_rate"),
    ("maxima", "log2_gain"),
    ("maxima", "layer_transformation"),
)
"""Views and signals that count: what a layer adds to the residual stream, and how its heads spread their attention."""
LEVELS: Final = (0.001, 0.5, 0.999)
_PER_DOUBLING: Final = 1 / 16
"""By so much the largest of twice as many windows is larger."""
_LEAST_FRACTION: Final = 0.25
"""A quantile's distance counts at least as this fraction of the median over the model's layers ..."""
_LEAST: Final = 1 / 256
"""... and as this: layers that never move would be out at any step."""


@dataclass(frozen=True, slots=True)
class RunNumber:
    """How far out a run is, and what makes it so."""

    value: float
    layer: int
    signal: str
    view: str
    step: int
    """First step of the window."""
    windows: int
    """So many windows were compared."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What is usual, as a run's windows are compared with it: of each row, [rows]; 0 and 0 in rows that do not count.

    Attributes:
        rows: which row is whose.
        centre: the median.
        per_high, per_low: one over the distances to the outer quantiles.
    """

    rows: TableRows
    centre: NDArray[np.float32]
    per_high: NDArray[np.float32]
    per_low: NDArray[np.float32]

    @classmethod
    def of(cls, sketches: Sketches, rows: TableRows) -> Self:
        """Return the yardstick that sketches make."""
        low, centre, high = sketches.quantiles(LEVELS)
        made = cls(rows, *(np.zeros(rows.count, np.float32) for _ in range(3)))
        for view, signal in COUNTED:
            where = rows.of(view, signal)
            known = np.isfinite(centre[where])
            if not known.any():
                continue
            made.centre[where] = np.where(known, centre[where], 0)
            for distance, per in ((high - centre, made.per_high), (centre - low, made.per_low)):
                own = distance[where]
                least = max(_LEAST_FRACTION * float(np.median(own[known])), _LEAST)
                per[where] = np.where(known, 1 / np.maximum(own, least), 0)
        return made


def run_number(parts: Iterable[Part], yardstick: Yardstick) -> RunNumber | None:
    """Return how far out a run is; None where it has no whole window to compare."""
    worst: RunNumber | None = None
    most = 0
    for part in parts:
        table, where = part.table, part.rows
        if not len(table):
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            away = table - yardstick.centre[where]
            excess = np.maximum(away * yardstick.per_high[where], -away * yardstick.per_low[where])
        excess[~np.isfinite(excess)] = -1
        window, column = np.unravel_index(int(excess.argmax()), excess.shape)
        most = max(most, len(table))
        value = float(excess[window, column])
        if value > (0 if worst is None else worst.value):
            view, signal, layer = _named(part, int(column), yardstick.rows)
            worst = RunNumber(value, layer, signal, view, int(part.starts[window]), len(table))
    if worst is None:
        return None
    return RunNumber(
        worst.value / (1 + _PER_DOUBLING * log2(most)), worst.layer, worst.signal, worst.view, worst.step, most
    )


def _named(part: Part, column: int, rows: TableRows) -> tuple[str, str, int]:
    """Return view, signal and layer of a column of a part's table."""
    view, column = divmod(column, rows.widths[part.group])
    for signal in GROUPS[part.group]:
        if column < rows.width(signal):
            return VIEWS[view], signal, column
        column -= rows.width(signal)
    raise IndexError("no such column")


@dataclass(frozen=True, slots=True)
class RunLimit:
    """The run number that so many healthy runs stay below."""

    value: float
    yardstick: Yardstick

    def is_exceeded_by(self, run: Run) -> bool:
        """Return whether a run is beyond it."""
        number = run_number(parts(run, self.yardstick.rows), self.yardstick)
        return number is not None and number.value > self.value


NUMBER: Final = np.dtype([("key", "<u8"), ("value", "<f4"), ("tokens", "<u4"), ("runs", "<u4")])
"""Of a run: a random key, its number, its length, and how many runs were in the baseline that it was measured by."""
MOST_NUMBERS: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class NumberSample:
    """The numbers of healthy runs: a sample of at most `MOST_NUMBERS`, those with the smallest keys.

    Keys are random, so that each run is in it with the same probability; and a run that is added twice is in it once.

    Attributes:
        entries: of dtype `NUMBER`, by their keys.
    """

    entries: NDArray[np.void]

    @classmethod
    def of(cls, entries: Iterable[tuple[int, float, int, int]] = ()) -> Self:
        """Return the sample of some runs: key, number, tokens, and runs of the baseline."""
        return cls(np.array(list(entries), NUMBER))

    def merged(self, other: "NumberSample") -> "NumberSample":
        """Return the sample of both; the order does not matter."""
        both = np.concatenate([self.entries, other.entries])
        _, first = np.unique(both["key"], return_index=True)
        return NumberSample(both[first[:MOST_NUMBERS]])

    def values(self) -> NDArray[np.float64]:
        """Return the numbers that a limit is taken from.

        Those of the first runs were measured by a baseline of few, by which everything is far out: they count only as
        long as there are not enough others.
        """
        settled = self.entries[self.entries["runs"] >= FEWEST_RUNS]
        chosen = settled if len(settled) >= FEWEST_RUNS else self.entries
        return np.asarray(chosen["value"], np.float64)


def limit_of(values: NDArray[np.float64], flagged: float = 0.0) -> float | None:
    """Return the number that a healthy run is beyond with the promised probability; None for too few runs.

    Runs beyond an earlier limit have taught nothing: without them the limit would sink with every run. So they count
    as beyond this one, up to the fraction that healthy runs are promised to be; more than that are no healthy ones.

    Args:
        values: numbers of healthy runs that raised no flag.
        flagged: how many others there were for each of these, beyond the limit of their time.
    """
    count = len(values)
    if count < _FEWEST_NUMBERS:
        return None
    alpha = ALPHA if count >= MANY_RUNS else 1 / (count + 1)
    beyond = min(ceil(flagged * count), ceil(alpha * count))
    place = min(ceil((count + beyond + 1) * (1 - alpha) - 1e-9), count)
    return float(np.partition(values, place - 1)[place - 1])
