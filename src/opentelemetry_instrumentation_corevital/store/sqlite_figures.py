"""Figures over time from the table `runs`: one walk along an index that has all that is counted."""

import sqlite3
from collections import Counter, defaultdict
from typing import Any, Final

import numpy as np

from .. import semconv
from .checked_attributes import checked_name
from .figures_over_time import Counts, FiguresOverTime, Thousandths, figures_over_time, own_series, range_of
from .filters import FLAGS, LEVELS, RunFilter
from .sqlite_filters import all_of, conditions_of, filters_index

_RISKS: Final = "group_concat(CASE WHEN risk_score BETWEEN 0 AND 1 THEN CAST(risk_score * 1000 + 0.5 AS INTEGER) END)"
_LATENCIES: Final = (
    "group_concat(CASE WHEN typeof(end_ns) = 'integer' AND end_ns >= start_ns "
    "THEN CAST(end_ns - start_ns AS INTEGER) / 1000000 END)"
)
_ENTROPY: Final = "CASE WHEN entropy_mean BETWEEN {0.lowest} AND {0.highest} THEN entropy_mean END".format(
    semconv.DEFINITIONS["attribute", semconv.ENTROPY_MEAN]
)
_COUNTED: Final = ", ".join(
    (
        f"count(*), total({_ENTROPY}), count({_ENTROPY}), {_RISKS}, {_LATENCIES}",
        *(f"total(risk_level = '{level}')" for level in LEVELS),
        *(f"total({flag} = 1), count({flag})" for flag in FLAGS),
    )
)


def read_figures(connection: sqlite3.Connection, wanted: RunFilter, now_ns: int) -> FiguresOverTime:
    """Return what runs show over time; those that start after now are left out."""
    conditions, values = conditions_of(wanted, newest_ns=now_ns)
    runs = f"FROM runs {filters_index(wanted)} {all_of(conditions)}"
    oldest = connection.execute(f"SELECT start_ns {runs} ORDER BY start_ns LIMIT 1", values)
    stretches = range_of(wanted, next((int(start_ns) for (start_ns,) in oldest), None), now_ns)
    number = f"CAST(start_ns AS INTEGER) / {stretches.width_ns} - {stretches.first}"
    found = [
        (number, checked_name(model), _counts(*counts))
        for number, model, *counts in connection.execute(
            f"SELECT {number}, model, {_COUNTED} {runs} GROUP BY 1, 2", values
        )
    ]
    frequencies = Counter[str | None]()
    for _, model, counts in found:
        frequencies[model] += counts.runs
    models = own_series(frequencies)
    places = {model: place for place, model in enumerate(models)}
    cells = defaultdict[tuple[int, int], Counts](Counts)
    for number, model, counts in found:
        cells[number, places.get(model, len(models))].add(counts)
    return figures_over_time(stretches, models, cells)


def _counts(runs: int, entropy: float, measured: int, risks: str | None, latencies: str | None, *rest: Any) -> Counts:
    levels, flags = rest[: len(LEVELS)], rest[len(LEVELS) :]
    return Counts(
        runs,
        Counter(dict(zip(LEVELS, map(int, levels), strict=True))),
        Counter(dict(zip(FLAGS, map(int, flags[::2]), strict=True))),
        Counter(dict(zip(FLAGS, flags[1::2], strict=True))),
        entropy,
        measured,
        _whole_numbers(risks),
        _whole_numbers(latencies),
    )


def _whole_numbers(text: str | None) -> list[Thousandths]:
    """Return the numbers that a text has with commas between them."""
    return [] if not text else [np.fromstring(text, np.int64, sep=",")]
