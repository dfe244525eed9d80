"""One number that says how far out a run is, and the limit that so many healthy runs stay below.

The number is the largest excess of a window over all layers: how far its median or its largest value is from what is
usual for that layer and signal, in units of the distance to the 0.1 % quantile on that side. Longer runs have more
windows, and so a larger one among them: that is divided out. Which signals count, and how, stands in this file alone.

The limit is a conformal quantile: the number of a new healthy run is as likely to take any place among those of the
healthy runs before it, so that it is the largest of n with probability 1 / (n + 1), whatever their distribution.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, log2
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .._internal.short_repr import short_repr
from .sketches import NumberTable, Sketches
from .windowed import GROUPS, VIEWS, Part, TableRows

ALPHA: Final = 0.005
"""Fraction of a model's healthy runs that may be beyond the limit, on average over baselines ..."""
MANY_RUNS: Final = 200
"""... from so many runs on; below, it is one of as many as there are."""
FEWEST_RUNS: Final = 50
"""Below so many runs there is no limit, and no flag rests on the baseline."""

_FEWEST_NUMBERS: Final = 25
"""NumberSample of runs without which there is no limit: the very first runs have none."""

LEVELS: Final = (0.001, 0.5, 0.999)
"""Quantiles that runs are measured by."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a run's number is made of.

    Attributes:
        counted: views and signals: what a layer adds to the residual stream, and how its heads spread their attention.
        logarithms: signals that are compared by their log2: where a layer stops to do anything, they fall to 0, which
            is not far from what is usual by itself.
        least: the distance to a quantile counts at least as this, by signal, or as ...
        least_otherwise: ... this: layers that never move would be out at any step.
        least_fraction: and at least as this fraction of its median over the model's layers.
        per_doubling: by so much the largest of twice as many windows is larger.
    """

    counted: tuple[tuple[str, str], ...] = (
        ("windows", "log2_gain"),
        ("windows", "layer_transformation"),
        ("windows", "attention_entropy"),
        ("windows", "collapsed_head_rate"),
        ("maxima", "log2_gain"),
        ("maxima", "layer_transformation"),
        ("maxima", "attention_entropy_change"),
    )
    logarithms: frozenset[str] = frozenset({"layer_transformation"})
    least: Mapping[str, float] = field(default_factory=lambda: {"collapsed_head_rate": 0.1})
    least_otherwise: float = 1 / 256
    least_fraction: float = 0.25
    per_doubling: float = 1 / 16

    def length_factor(self, windows: int) -> float:
        """Return by what the largest of so many windows is larger than a single one."""
        return 1 + self.per_doubling * log2(windows)


RULE: Final = Rule()
"""The one that counts."""
RULE_VERSION: Final = 2
"""Its version. With every change of what a number is raise it: numbers of different rules are not compared."""


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
        logarithm: of which rows the log2 is compared; it is what `centre` and the distances are of.
        rule: by which it was made.
    """

    rows: TableRows
    centre: NDArray[np.float32]
    per_high: NDArray[np.float32]
    per_low: NDArray[np.float32]
    logarithm: NDArray[np.bool_]
    rule: Rule = RULE

    __repr__ = short_repr

    @classmethod
    def of(cls, sketches: Sketches, rows: TableRows, rule: Rule = RULE) -> Self:
        """Return the yardstick that sketches make."""
        return cls.of_quantiles(sketches.quantiles(LEVELS), rows, rule)

    @classmethod
    def of_quantiles(cls, table: NDArray[np.float64], rows: TableRows, rule: Rule = RULE) -> Self:
        """Return the yardstick that quantiles [`LEVELS`, rows] make; NaN in rows of which nothing is known."""
        centre, per_high, per_low = np.zeros((3, rows.count), np.float32)
        made = cls(rows, centre, per_high, per_low, np.zeros(rows.count, bool), rule)
        for place in rule.counted:
            signal, where = place[1], rows.of(*place)
            made.logarithm[where] = signal in rule.logarithms
            own = table[:, where]
            low, centre, high = _log2(own) if signal in rule.logarithms else own
            known = np.isfinite([low, centre, high]).all(0)
            if not known.any():
                continue
            made.centre[where] = np.where(known, centre, 0)
            for distance, per in ((high - centre, made.per_high), (centre - low, made.per_low)):
                least = max(
                    rule.least_fraction * float(np.median(distance[known])),
                    rule.least.get(signal, rule.least_otherwise),
                )
                per[where] = np.where(known, 1 / np.maximum(distance, least), 0)
        return made

    def excess(self, part: Part) -> NDArray[np.float32]:
        """Return how far a run's windows are out [windows, rows of the part], -1 where there is nothing to compare."""
        table = self._compared(part)
        with np.errstate(invalid="ignore", over="ignore"):
            away = table - self.centre[part.rows]
            found: NDArray[np.float32] = np.maximum(away * self.per_high[part.rows], -away * self.per_low[part.rows])
        found[~np.isfinite(found)] = -1
        return found

    def _compared(self, part: Part) -> NumberTable:
        """Return the numbers of a part as they are compared: of some signals their log2."""
        some = self.logarithm[part.rows]
        if not some.any():
            return part.table
        table = part.table.copy()
        table[:, some] = _log2(table[:, some])
        return table

    def usual(self, part: Part) -> NumberTable:
        """Return the medians of a part's rows [rows], as they are measured."""
        centre = self.centre[part.rows]
        return np.asarray(np.where(self.logarithm[part.rows], np.exp2(centre), centre), np.float32)


def _log2(values: NDArray[Any]) -> NDArray[Any]:
    """Return logarithms; of less than rounding leaves, that of what it leaves."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.log2(np.maximum(values, np.float32(2**-16))))


def run_number(parts: Iterable[Part], yardstick: Yardstick) -> RunNumber | None:
    """Return how far out a run is; None where it has no whole window to compare."""
    worst: RunNumber | None = None
    most = 0
    for part in parts:
        if not len(part.table):
            continue
        excess = yardstick.excess(part)
        window, column = np.unravel_index(int(excess.argmax()), excess.shape)
        most = max(most, len(part.table))
        value = float(excess[window, column])
        if value > (0 if worst is None else worst.value):
            place = place_of(part, int(column), yardstick.rows)
            worst = RunNumber(value, place.layer, place.signal, place.view, int(part.starts[window]), len(part.table))
    if worst is None:
        return None
    return replace(worst, value=worst.value / yardstick.rule.length_factor(most), windows=most)


class ColumnName(NamedTuple):
    """Which number a column of a part's table is."""

    view: str
    signal: str
    layer: int


def place_of(part: Part, column: int, rows: TableRows) -> ColumnName:
    """Return what a column of a part's table is."""
    view, column = divmod(column, rows.widths[part.group])
    for signal in GROUPS[part.group]:
        if column < rows.width(signal):
            return ColumnName(VIEWS[view], signal, column)
        column -= rows.width(signal)
    raise IndexError("no such column")


@dataclass(frozen=True, slots=True)
class RunLimit:
    """The run number that so many healthy runs stay below."""

    value: float
    yardstick: Yardstick

    __repr__ = short_repr


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

    __repr__ = short_repr

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


def promised_rate(runs: int) -> float:
    """Return the fraction of a model's healthy runs that are beyond a limit of so many, on average over baselines."""
    return ALPHA if runs >= MANY_RUNS else 1 / (runs + 1)


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
    alpha = promised_rate(count)
    beyond = min(ceil(flagged * count), ceil(alpha * count))
    place = min(ceil((count + beyond + 1) * (1 - alpha) - 1e-9), count)
    return float(np.partition(values, place - 1)[place - 1])
