"""What people say of runs."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .database import StoreError
from .editing import editing

OUTCOMES: Final = ("correct", "incorrect")
"""The words that calibration and evaluation understand; others are for one's own use."""
ANY_OR_NONE: Final = ("any", "none")
"""What a filter says for a run with a label, and for one without."""
_MOST_CHARACTERS: Final = 64
COPY_LABEL: Final = (
    "UPDATE runs SET label = (SELECT outcome FROM labels WHERE labels.trace_id = runs.trace_id "
    "AND labels.span_id = runs.span_id) WHERE trace_id = ? AND span_id = ?"
)
"""Brings a run's `label` in line with `labels`."""


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody said of a run."""

    outcome: str
    note: str | None
    labelled_ns: int


def set_label(path: str | Path, trace_id: str, span_id: str, outcome: str | None, note: str | None = None) -> None:
    """Label a run, in place of an earlier label.

    Args:
        path: the store's file.
        trace_id: of the run.
        span_id: of the run.
        outcome: a word; None takes the label away.
        note: free text beside it.

    Raises:
        StoreError: if the file cannot be written, holds no such run, or the outcome is no word.
    """
    if outcome is not None and not _is_word(outcome):
        raise StoreError(
            f"outcome {outcome!r}: give one word of at most {_MOST_CHARACTERS} letters, digits, - or _, "
            f"such as {' or '.join(OUTCOMES)}; {' and '.join(ANY_OR_NONE)} mean any label and none."
        )
    key = (trace_id, span_id)
    with editing(path) as connection:
        if connection.execute("SELECT 1 FROM runs WHERE trace_id = ? AND span_id = ?", key).fetchone() is None:
            raise StoreError(f"{path}: holds no run {trace_id}.")
        connection.execute("DELETE FROM labels WHERE trace_id = ? AND span_id = ?", key)
        if outcome is not None:
            connection.execute("INSERT INTO labels VALUES (?, ?, ?, ?, ?)", (*key, outcome, note, time.time_ns()))
        connection.execute(COPY_LABEL, key)


def read_label(connection: sqlite3.Connection, trace_id: str, span_id: str) -> Label | None:
    """Return a run's label."""
    found = connection.execute(
        "SELECT outcome, note, labelled_ns FROM labels WHERE trace_id = ? AND span_id = ?", (trace_id, span_id)
    ).fetchone()
    return None if found is None else Label(*found)


def _is_word(outcome: str) -> bool:
    if outcome in ANY_OR_NONE:
        return False  # a filter could not tell it from them
    return 0 < len(outcome) <= _MOST_CHARACTERS and outcome.replace("-", "").replace("_", "").isalnum()
