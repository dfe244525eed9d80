"""Labels as rows."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .bulk_labels import LabelCounts, NewLabel
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
    with editing(path) as connection:
        _check_is_there(connection, path, (trace_id, span_id))
        _write(connection, (trace_id, span_id), outcome, note)


def label_runs(path: str | Path, labels: Sequence[NewLabel]) -> LabelCounts:
    """Label runs in one transaction, in place of earlier labels; return how many are new, changed and the same.

    Raises:
        StoreError: as `set_label`; then no label is written.
    """
    for each in labels:
        check_outcome(each.outcome)
    with editing(path) as connection:
        counts, different = compared_with_stored(connection, path, labels)
        for each in different:
            _write(connection, (each.run.trace_id, each.run.span_id), each.outcome, each.note)
    return counts


def compared_with_stored(
    connection: sqlite3.Connection, path: str | Path, labels: Sequence[NewLabel]
) -> tuple[LabelCounts, list[NewLabel]]:
    """Return how many labels are new, changed and the same, and those that are not the same.

    Raises:
        StoreError: if one of the runs is not there.
    """
    pairs = []
    for each in labels:
        key = (each.run.trace_id, each.run.span_id)
        _check_is_there(connection, path, key)
        pairs.append((each, read_label(connection, *key)))
    return LabelCounts.of(pairs), [each for each, before in pairs if each.differs(before)]


def _check_is_there(connection: sqlite3.Connection, path: str | Path, key: tuple[str, str]) -> None:
    if connection.execute("SELECT 1 FROM runs WHERE trace_id = ? AND span_id = ?", key).fetchone() is None:
        raise StoreError(f"{path}: holds no run {key[0]}.")


def _write(connection: sqlite3.Connection, key: tuple[str, str], outcome: str | None, note: str | None) -> None:
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
