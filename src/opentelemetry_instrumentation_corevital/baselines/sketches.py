"""Quantile sketches of many numbers at once: what is kept of a stream of which nothing else is kept.

A sketch is a histogram of 64 bins around an anchor, a centre and a unit that the first numbers give it (their median
and interquartile range). A number that is t units from the centre falls by y = t + sqrt(t * t + 1), the exponential of
asinh(t): four bins to each doubling of y. So bins are at most a quarter of the unit wide near the centre and grow with
the distance, out to 127 units on either side; the outermost two take what is beyond. Smallest and largest number are
kept exactly. That is 276 bytes.

Why not a t-digest: bins need no sorting, so that a run costs tens of microseconds; counts are whole numbers, so that
sketches of one anchor are merged exactly, in any order. All rows of a table are sketched by the same few operations.
Merging two that have different anchors moves the counts of one into the bins of the other, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

_PER_DOUBLING_BITS: Final = 2
"""Bits of a float32's fraction that tell a bin: four bins to a doubling."""
_DOUBLINGS: Final = 8  # of y on either side of 1
BINS: Final = 2 * _DOUBLINGS << _PER_DOUBLING_BITS
ROW_BYTES: Final = 4 * (BINS + 5)
"""Of one sketch: counts, centre, unit, smallest and largest number."""

_SHIFT: Final = 23 - _PER_DOUBLING_BITS
_FIRST: Final = (127 - _DOUBLINGS) << _PER_DOUBLING_BITS  # the bits of the smallest y, shifted
_FURTHEST: Final = np.float32(127)
_NO_NUMBER: Final = BINS  # a bin that is thrown away
_MOST_COUNT: Final = 2**31
_SMALLEST_UNIT: Final = 1 / 64
"""Unit of numbers that were all alike; most signals are fractions or logarithms."""

NumberTable = NDArray[np.float32]
"""[values, rows], NaN where there is none."""


def _edges_in_units() -> NDArray[np.float64]:
    """Return the edges of the bins in units from the centre [BINS + 1]."""
    step = np.arange(BINS + 1)
    y = 2.0 ** (step // 4 - _DOUBLINGS) * (1 + step % 4 / 4)
    return np.asarray((y - 1 / y) / 2)


_EDGES: Final = _edges_in_units()


@dataclass(slots=True, eq=False)
class Sketches:
    """A sketch for each of some rows.

    Attributes:
        centre, unit: the anchors, float32 [rows]; NaN in a row that has had no number yet.
        counts: uint32 [rows, BINS + 1]; the last bin takes what is no number, and means nothing.
        lowest, highest: float32 [rows]; +inf and -inf in a row that has had no number yet.
    """

    centre: NDArray[np.float32]
    unit: NDArray[np.float32]
    counts: NDArray[np.uint32]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    @classmethod
    def empty(cls, rows: int) -> Self:
        """Return sketches without a number."""
        nothing = np.full(rows, np.nan, np.float32)
        return cls(
            nothing,
            nothing.copy(),
            np.zeros((rows, BINS + 1), np.uint32),
            np.full(rows, np.inf, np.float32),
            np.full(rows, -np.inf, np.float32),
        )

    def emptied(self) -> "Sketches":
        """Return sketches with the same anchors and no number."""
        new = self.empty(len(self.centre))
        new.centre, new.unit = self.centre.copy(), self.unit.copy()
        return new

    @property
    def bytes(self) -> int:
        """Return the bytes that the sketches take."""
        return sum(part.nbytes for part in (self.centre, self.unit, self.counts, self.lowest, self.highest))

    @property
    def total(self) -> NDArray[np.int64]:
        """Return how many numbers each row has had [rows]."""
        return np.asarray(self.counts[:, :BINS].sum(1, dtype=np.int64))

    def anchor(self, values: NumberTable, rows: slice) -> None:
        """Give rows that have no anchor one that suits these numbers; the others keep theirs.

        Args:
            values: [values, rows].
            rows: which these are.
        """
        without = np.flatnonzero(np.isnan(self.centre[rows]))
        # Mostly these are rows that never have a number: one look is enough, and another run comes.
        if without.size and len(values) and np.isfinite(values[len(values) // 2, without]).any():
            centre, unit = _anchors(values[:, without])
            self.centre[rows.start + without], self.unit[rows.start + without] = centre, unit

    def add(self, values: NumberTable, rows: slice) -> None:
        """Add numbers to rows; what is not finite is left out, and so are rows without an anchor.

        Args:
            values: [values, rows].
            rows: which these are.
        """
        if not len(values):
            return
        low, high = values.min(0), values.max(0)
        holes = np.flatnonzero(~np.isfinite(high - low))
        if holes.size:
            own = values[:, holes]
            finite = np.isfinite(own)
            low[holes] = np.where(finite, own, np.float32(np.inf)).min(0)
            high[holes] = np.where(finite, own, np.float32(-np.inf)).max(0)
            if np.isinf(own).any():
                values = np.where(np.isinf(values), np.float32(np.nan), values)
        np.minimum(self.lowest[rows], low, out=self.lowest[rows])
        np.maximum(self.highest[rows], high, out=self.highest[rows])
        with np.errstate(over="ignore", invalid="ignore"):
            places = _places(values, self.centre[rows], self.unit[rows])
        places += np.arange(0, values.shape[1] * (BINS + 1), BINS + 1, dtype=np.uint32)
        counts = self.counts[rows].reshape(-1)
        if places.size > len(counts):
            np.add(counts, np.bincount(places.ravel(), minlength=len(counts)), out=counts, casting="unsafe")
        else:  # the same, where most bins get nothing
            np.add.at(counts, places.ravel(), np.uint32(1))

    def merged(self, other: "Sketches") -> "Sketches":
        """Return the sketches of both streams.

        The order does not matter. Where the anchors of a row differ, those stay that more numbers have been added to.
        """
        mine, theirs = self.total, other.total
        takes = np.isnan(self.centre) | ((theirs > mine) & ~np.isnan(other.centre))
        tie = (theirs == mine) & (
            (other.centre < self.centre) | ((other.centre == self.centre) & (other.unit < self.unit))
        )
        takes |= tie
        new = Sketches(
            np.where(takes, other.centre, self.centre),
            np.where(takes, other.unit, self.unit),
            self.counts,
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
        )
        counts = self._counts_around(new) + other._counts_around(new)
        counts[:, BINS] = 0
        for row in np.flatnonzero(counts.max(1, initial=0) >= _MOST_COUNT).tolist():
            counts[row] //= 2  # older numbers then weigh half: so a count never overflows
        new.counts = counts.astype(np.uint32)
        return new

    def _counts_around(self, target: "Sketches") -> NDArray[np.int64]:
        """Return the counts in the bins around the anchors of others."""
        counts = self.counts.astype(np.int64)
        same = (self.centre == target.centre) & (self.unit == target.unit)
        for row in np.flatnonzero(~same & (self.total > 0)).tolist():
            edges = self._edges(row, row + 1)[0]
            middles = ((edges[1:] + edges[:-1]) / 2).astype(np.float32)[:, None]
            moved = np.zeros(BINS + 1, np.int64)
            places = _places(middles, target.centre[[row]], target.unit[[row]])[:, 0]
            np.add.at(moved, places, counts[row, :BINS])
            counts[row] = moved
        return counts

    def _edges(self, first: int, last: int) -> NDArray[np.float64]:
        """Return the edges of some rows' bins [rows, BINS + 1], none beyond the smallest or the largest number."""
        centre, unit = (part[first:last, None].astype(np.float64) for part in (self.centre, self.unit))
        edges = centre + unit * _EDGES
        edges[:, 0], edges[:, -1] = -np.inf, np.inf
        return np.clip(edges, self.lowest[first:last, None], self.highest[first:last, None])

    def quantiles(self, levels: Sequence[float]) -> NDArray[np.float64]:
        """Return quantiles [levels, rows], NaN of rows without a number.

        Within a bin numbers are taken to lie evenly.
        """
        total = self.total
        found = np.full((len(levels), len(total)), np.nan)
        known = np.flatnonzero(total)
        if not known.size:
            return found
        edges = self._edges(0, len(total))[known]
        up_to = np.cumsum(self.counts[known, :BINS], axis=1, dtype=np.float64)
        place = np.arange(len(known))
        for number, level in enumerate(levels):
            rank = level * total[known]
            at = np.minimum((up_to < rank[:, None]).sum(1), BINS - 1)
            amount = self.counts[known, at].astype(np.float64)
            before = up_to[place, at] - amount
            part = np.clip((rank - before) / np.maximum(amount, 1), 0, 1)
            low, high = edges[place, at], edges[place, at + 1]
            found[number, known] = low + part * (high - low)
        return found


def _places(values: NumberTable, centre: NDArray[np.float32], unit: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the bins that numbers [values, rows] fall into; `_NO_NUMBER` of what is none."""
    per_unit = 1 / unit
    away = values * per_unit
    away -= centre * per_unit
    np.maximum(away, -_FURTHEST, out=away)
    np.minimum(away, _FURTHEST, out=away)
    y = away * away
    y += np.float32(1)
    np.sqrt(y, out=y)
    y += away
    places = y.view(np.uint32)
    places >>= _SHIFT
    places -= np.uint32(_FIRST)
    np.minimum(places, np.uint32(_NO_NUMBER), out=places)  # NaN has the highest bits of all
    return places


def _anchors(values: NumberTable) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return centre and unit [rows] that suit numbers [values, rows]; NaN where a row has none."""
    rows = values.shape[1]
    centre, unit = np.full(rows, np.nan, np.float32), np.full(rows, np.nan, np.float32)
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    some = ~np.isnan(values).all(0) if len(values) else np.zeros(rows, bool)
    if not some.any():
        return centre, unit
    levels = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    lowest, low, lower, middle, upper, high, highest = np.nanquantile(
        values[:, some].astype(np.float64), levels, axis=0
    )
    tiny = 1e-6 * np.maximum(np.abs(middle), 1e-6)  # below it a float32 tells nothing apart
    width = np.full(len(middle), _SMALLEST_UNIT)
    for spread in (highest - lowest, high - low, upper - lower):
        width = np.where(spread > tiny, spread, width)
    centre[some], unit[some] = middle, width
    return centre, unit
