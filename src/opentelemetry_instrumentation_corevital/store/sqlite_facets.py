"""Runs counted by value: groups of alike ones from an index alone, the rest in `facets.py`."""

import sqlite3
from functools import cache
from typing import Any, Final

from .checked_attributes import checked_cell
from .facets import Counting, FacetValues, RunCounts, without_facets
from .filters import FLAGS, RunFilter
from .run_columns import COLUMN_ATTRIBUTES
from .sqlite_filters import where

_COLUMNS: Final = {
    "model": "model",
    "level": "risk_level",
    "label": "label",
    "stop_reason": "stop_reason",
    "intervened": "intervention",
    "service": "service_name",
    "experiment": "experiment",
}
"""Condition -> column that has its value."""
_TERMS: Final = ", ".join((*_COLUMNS.values(), "warnings", *FLAGS))


def counted(connection: sqlite3.Connection, wanted: RunFilter) -> RunCounts:
    """Return how many runs meet conditions, by value: one walk along an index that has all of it."""
    rest = without_facets(wanted)
    condition, values = where(rest)
    counting, checked = Counting(wanted), cache(_checked)
    for row in connection.execute(
        f"SELECT {_TERMS}, count(*) FROM runs INDEXED BY {_index(rest)} {condition} GROUP BY {_TERMS}", values
    ):
        cells = zip((*_COLUMNS.values(), "warnings", *FLAGS), row, strict=False)
        found = {column: checked(column, value) for column, value in cells}
        counting.add(_values(found), row[-1])
    return counting.counts()


def _index(rest: RunFilter) -> str:
    """Return the index that has few runs where conditions say so, else the one that has alike runs side by side."""
    if rest.request_hash is not None:
        return "runs_request"
    if rest.outcome_known is not None:
        return "runs_outcome"
    return "runs_counts" if not rest.prompt_hash else "runs_prompt"


def _checked(column: str, value: Any) -> Any:
    return checked_cell(column, value, COLUMN_ATTRIBUTES, truth=column in FLAGS)[0]


def _values(found: dict[str, Any]) -> dict[str, FacetValues]:
    values: dict[str, FacetValues] = {name: (found[column],) for name, column in _COLUMNS.items()}
    values["intervened"] = (found["intervention"] is not None,)
    values["service"] = (found["service_name"] or None,)
    values["flag"] = tuple(flag for flag in FLAGS if found[flag])
    values["warning"] = tuple(dict.fromkeys(found["warnings"] or ()))
    return values
