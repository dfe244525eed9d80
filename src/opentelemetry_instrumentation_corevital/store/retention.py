"""What a store forgets by itself: what is older than so many days, and the oldest of what is too much.

Age counts from when it was stored, so that runs of last year, imported today, stay a month. A trace with a labelled run
stays. Everything goes in slices, a short transaction each, so that nobody waits long for the file's lock. The file does
not shrink: SQLite uses the freed pages for what comes next; `corevital db vacuum` gives them back.
"""

import sqlite3
import time
from dataclasses import astuple, dataclass
from typing import Final, Self

from .migrations import NOW_NS

DAY_NS: Final = 86_400 * 10**9
SLICE: Final = 64
"""Spans, or log records, of one transaction."""
_CHECK_SECONDS: Final = 600.0
_CHECK_BATCHES: Final = 8
_TARGET: Final = 0.95
"""Fraction of the largest size that removing goes down to, so that it does not begin again with the next run."""

LABELLED: Final = "EXISTS (SELECT 1 FROM labels WHERE labels.trace_id = {table}.trace_id)"
_OLDEST_SPANS: Final = (
    "SELECT trace_id, span_id, ingested_ns FROM spans WHERE ingested_ns < ? AND NOT "
    f"{LABELLED.format(table='spans')} ORDER BY ingested_ns LIMIT ?"
)
_DELETE_SPAN: Final = "DELETE FROM spans WHERE trace_id = ? AND span_id = ?"
_DELETE_DATA: Final = "DELETE FROM run_data WHERE trace_id = ? AND span_id = ?"
_DELETE_OLD_DATA: Final = f"DELETE FROM run_data WHERE received_ns < ? AND NOT {LABELLED.format(table='run_data')}"
_DELETE_LOGS: Final = (
    "DELETE FROM logs WHERE id IN (SELECT id FROM logs WHERE ingested_ns < ? AND (trace_id IS NULL OR NOT "
    f"{LABELLED.format(table='logs')}) ORDER BY ingested_ns LIMIT ?)"
)
_DELETE_POINTS: Final = "DELETE FROM metric_points WHERE ingested_ns < ?"
_DELETE_ORPHANS: Final = (
    "DELETE FROM metrics WHERE NOT EXISTS (SELECT 1 FROM metric_points WHERE metric_id = metrics.id)",
    "DELETE FROM resources WHERE NOT EXISTS (SELECT 1 FROM spans WHERE resource_id = resources.id) "
    "AND NOT EXISTS (SELECT 1 FROM logs WHERE resource_id = resources.id) "
    "AND NOT EXISTS (SELECT 1 FROM metrics WHERE resource_id = resources.id)",
)


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept: for so many days, in so many bytes. None: for ever, without a limit."""

    days: float | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        for what, limit in (("days", self.days), ("bytes", self.bytes)):
            if limit is not None and not limit >= 0:  # nor is NaN
                raise ValueError(f"{what} must be 0 or more, not {limit}")


@dataclass(frozen=True, slots=True)
class Removed:
    """How much was removed."""

    spans: int = 0
    logs: int = 0
    run_data: int = 0
    metric_points: int = 0

    def __add__(self, other: Self) -> "Removed":
        return Removed(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return any(astuple(self))


class Keeper:
    """Says when a writer has to remove something, and removes it slice by slice."""

    def __init__(self, retention: Retention | None) -> None:
        self._retention = retention or Retention()
        self._old_at = 0.0  # at once: a file may have grown old while nobody wrote to it
        self._batches = _CHECK_BATCHES
        self._orphans = False

    def written(self) -> None:
        """Count a batch that was written."""
        self._batches += 1

    def due(self) -> bool:
        """Tell whether there may be something to remove."""
        return self._is_old() or self._is_large()

    def _is_old(self) -> bool:
        return self._retention.days is not None and time.monotonic() >= self._old_at

    def _is_large(self) -> bool:
        return self._retention.bytes is not None and self._batches >= _CHECK_BATCHES

    def slice(self, connection: sqlite3.Connection) -> None:
        """Remove one slice, inside the caller's transaction."""
        days = self._retention.days if self._is_old() else None
        if prune(connection, Retention(days, self._retention.bytes)):
            self._orphans = True
            return
        if self._orphans:
            remove_orphans(connection)
            self._orphans = False
        self.postpone()

    def postpone(self) -> None:
        """Look again later."""
        self._batches = 0
        if self._is_old():
            self._old_at = time.monotonic() + _CHECK_SECONDS


def prune(connection: sqlite3.Connection, retention: Retention) -> Removed:
    """Remove one slice of what is too old or too much, inside the caller's transaction; nothing: there is no more."""
    now = time.time_ns()
    removed = Removed()
    if retention.days is not None:
        removed = _remove(connection, before=now - int(min(retention.days * DAY_NS, now)))
    if not removed and retention.bytes is not None and used_bytes(connection) > retention.bytes * _TARGET:
        removed = _remove_oldest(connection)
    return removed


def remove_orphans(connection: sqlite3.Connection) -> None:
    """Remove metrics without points and resources without telemetry."""
    for statement in _DELETE_ORPHANS:
        connection.execute(statement)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how many bytes of the file hold something."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size


def _remove(connection: sqlite3.Connection, *, before: int) -> Removed:
    _date(connection, "spans")
    _date(connection, "logs")
    keys = [row[:2] for row in connection.execute(_OLDEST_SPANS, (before, SLICE))]
    data = connection.executemany(_DELETE_DATA, keys).rowcount
    connection.executemany(_DELETE_SPAN, keys)
    logs = connection.execute(_DELETE_LOGS, (before, SLICE)).rowcount
    if keys or logs:  # the rest once, at the end
        return Removed(len(keys), logs, data)
    _date(connection, "metric_points")
    data += connection.execute(_DELETE_OLD_DATA, (before,)).rowcount
    return Removed(0, 0, data, connection.execute(_DELETE_POINTS, (before,)).rowcount)


def _date(connection: sqlite3.Connection, table: str) -> None:
    """Give rows of an older writer the time that they lack."""
    connection.execute(f"UPDATE {table} SET ingested_ns = {NOW_NS} WHERE ingested_ns IS NULL")


def _remove_oldest(connection: sqlite3.Connection) -> Removed:
    newest = connection.execute(f"SELECT max(ingested_ns) FROM ({_OLDEST_SPANS})", (2**62, SLICE)).fetchone()[0]
    if newest is None:  # no span is left, or only labelled ones
        newest = connection.execute(
            "SELECT max(ingested_ns) FROM (SELECT ingested_ns FROM logs ORDER BY ingested_ns LIMIT ?)", (SLICE,)
        ).fetchone()[0]
    return Removed() if newest is None else _remove(connection, before=newest + 1)
