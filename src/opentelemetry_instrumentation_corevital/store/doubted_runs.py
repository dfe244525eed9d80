"""Runs that say of themselves that their numbers disagree, among the newest of a store."""

import sqlite3
from contextlib import closing
from typing import Any, Final

from .. import semconv
from .._internal.json_text import json_object
from .database import explain, open_for_reading

NEWEST: Final = 500
"""Runs that are looked at: their spans are read."""
_DOUBT: Final = "consistency"
_SPANS: Final = (
    "SELECT spans.attributes FROM runs JOIN spans USING (trace_id, span_id) ORDER BY runs.start_ns DESC LIMIT ?"
)


def doubted_runs(path: str) -> list[str]:
    """Return what each of the newest runs says of numbers that disagree, the newest first; most runs say nothing.

    Raises:
        StoreError: if the file cannot be read.
    """
    with closing(open_for_reading(path)) as connection:
        try:
            found = connection.execute(_SPANS, (NEWEST,)).fetchall()
        except sqlite3.Error as error:
            raise explain(error, path) from error
    return [said for (attributes,) in found if (said := _doubt(attributes)) is not None]


def _doubt(attributes: Any) -> str | None:
    absent = json_object((json_object(attributes) or {}).get(semconv.CAPTURE_ABSENT))
    said = (absent or {}).get(_DOUBT)
    return said if isinstance(said, str) else None
