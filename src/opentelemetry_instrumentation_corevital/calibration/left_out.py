"""How far out each run is by what the others say is usual: the numbers that a profile's limit is taken from.

A run that helps to say what is usual is never far from it. So each is measured as a run that comes later is: by the
quantiles of the other runs. Answers to one prompt are alike, so they are left out together.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.run_numbers import LEVELS, Yardstick, run_number
from ..baselines.sketches import NumberTable
from ..baselines.windowed import GROUPS, Part, TableRows

_COLUMNS: Final = 128
"""So many columns are sorted at a time, which bounds the memory."""


def left_out_numbers(runs: Sequence[list[Part]], groups: Sequence[int], rows: TableRows) -> list[float | None]:
    """Return of each run its number by the runs of all other groups; None where there is nothing to compare.

    Args:
        runs: the numbers of each.
        groups: of each run the group that it is left out with.
        rows: which row is whose.
    """
    known = list(dict.fromkeys(groups))
    place = {group: number for number, group in enumerate(known)}
    tables = np.full((len(known), len(LEVELS), rows.count), np.nan)
    for _, parts in _by_kind(runs):
        owners = [np.full(len(part.table), place[groups[run]]) for run, part in parts]
        pooled = np.concatenate([part.table for _, part in parts])
        tables[:, :, parts[0][1].rows] = _quantiles_without(pooled, np.concatenate(owners), len(known))
    yardsticks = [Yardstick.of_quantiles(table, rows) for table in tables]
    found = [run_number(parts, yardsticks[place[group]]) for parts, group in zip(runs, groups, strict=True)]
    return [None if number is None else number.value for number in found]


def _by_kind(runs: Sequence[list[Part]]) -> Iterator[tuple[int, list[tuple[int, Part]]]]:
    """Yield the parts of each group of signals, with the run that each is of."""
    for kind in range(len(GROUPS)):
        found = [(number, part) for number, parts in enumerate(runs) for part in parts if part.group == kind]
        if found:
            yield kind, found


def _quantiles_without(table: NumberTable, owners: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Return for each owner the quantiles of what is not his [owners, `LEVELS`, columns], as NumPy interpolates them.

    Args:
        table: [values, columns]; what is not finite does not count.
        owners: of each value [values].
        count: how many owners there are.
    """
    found = np.full((count, len(LEVELS), table.shape[1]), np.nan)
    own = [np.flatnonzero(owners == owner) for owner in range(count)]
    for first in range(0, table.shape[1], _COLUMNS):
        some = slice(first, first + _COLUMNS)
        values = np.where(np.isfinite(table[:, some]), table[:, some], np.float32(np.nan))
        order = np.argsort(values, axis=0, kind="stable")  # what is no number comes last
        ordered = np.take_along_axis(values, order, axis=0).astype(np.float64)
        places = np.empty_like(order)
        np.put_along_axis(places, order, np.arange(len(order))[:, None], axis=0)
        finite = np.isfinite(ordered).sum(0)
        for owner, mine in enumerate(own):
            found[owner, :, some] = _without(ordered, finite, np.sort(places[mine], axis=0))
    return found


def _without(ordered: NDArray[np.float64], finite: NDArray[np.intp], mine: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the quantiles [`LEVELS`, columns] of ordered values without some of them.

    Args:
        ordered: [values, columns], the finite ones first.
        finite: how many these are [columns].
        mine: the places of those that are left out, in order [left out, columns].
    """
    left = finite - (mine < finite).sum(0)
    # Where a value stands among the others: behind as many of those left out as stand before it.
    among = mine - np.arange(len(mine))[:, None]
    columns = np.arange(ordered.shape[1])

    def at(rank: NDArray[np.intp]) -> NDArray[np.float64]:
        where = rank + (among <= rank).sum(0)
        return np.asarray(ordered[np.minimum(where, len(ordered) - 1), columns])

    found = np.full((len(LEVELS), ordered.shape[1]), np.nan)
    for number, level in enumerate(LEVELS):
        exact = level * np.maximum(left - 1, 0)
        rank = np.floor(exact).astype(np.intp)
        low, high = at(rank), at(np.minimum(rank + 1, np.maximum(left - 1, 0)))
        found[number] = np.where(left > 0, low + (exact - rank) * (high - low), np.nan)
    return found
