"""Labels as rows."""

import sqlite3
import time
from pathlib import Path
from typing import Final

from .editing import editing
from .labels import Label, check_outcome
from .store_error import StoreError

COPY_LABEL: Final = (
    "UPDATE runs SET label = (SELECT outcome FROM labels WHERE labels.trace_id = runs.trace_id "
    "AND labels.span_id = runs.span_id) WHERE trace_id = ? AND span_id = ?"
)
"""Brings a run's `label` in line with `labels`."""


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
    check_outcome(outcome)
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
