"""A background thread that writes to the store: one connection, one transaction per batch, nobody waits for it.

A fork copies a process with one thread only. So a fork takes the writer's lock first, which every transaction holds:
no transaction is open and no thread is inside SQLite while the process is copied. The child starts with an empty
queue (what was queued is the parent's to write), a new lock and no connection; the parent's connection is kept
referenced there and never used or closed, since closing it would drop the parent's file locks.
"""

import atexit
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .database import StoreError, explain, open_database
from .rows import (
    EVENT_COLUMNS,
    LINK_COLUMNS,
    RESOURCE_COLUMNS,
    RUN_COLUMNS,
    SCOPE_COLUMNS,
    SPAN_COLUMNS,
    Row,
    SpanRows,
)

logger = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Rows that may wait for the disk; what comes beyond is dropped and counted."""
ATTEMPTS: Final = 3
"""Tries to write a batch that another process's lock keeps out; each waits `database.BUSY_SECONDS`."""

_writers: "weakref.WeakSet[StoreWriter]" = weakref.WeakSet()


def _insert(table: str, columns: Sequence[str], verb: str = "INSERT") -> str:
    marks = ", ".join("?" * len(columns))
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({marks})"


_INSERT_RESOURCE: Final = _insert("resources", RESOURCE_COLUMNS, "INSERT OR IGNORE")
_INSERT_SCOPE: Final = _insert("scopes", SCOPE_COLUMNS, "INSERT OR IGNORE")
_INSERT_SPAN: Final = _insert("spans", (*SPAN_COLUMNS, "resource_id", "scope_id"))
_INSERT_EVENT: Final = _insert("span_events", EVENT_COLUMNS)
_INSERT_LINK: Final = _insert("span_links", LINK_COLUMNS)
_INSERT_RUN: Final = _insert("runs", RUN_COLUMNS)


class StoreWriter:
    """Writes spans to one file.

    Args:
        path: the file; nothing is opened before the first `submit`.
        queue_bytes: bytes that may wait.
    """

    def __init__(self, path: str | Path, *, queue_bytes: int = QUEUE_BYTES) -> None:
        self.path = Path(path)
        self.last_error: StoreError | None = None
        """Why the last batch could not be written; None once one could."""
        self.dropped = 0
        """Spans that were not stored: the queue was full, or the file could not be written."""
        self._queue_bytes = queue_bytes
        self._orphans: list[sqlite3.Connection] = []
        self._reset()
        _writers.add(self)
        atexit.register(_close_at_exit, weakref.ref(self))

    def _reset(self) -> None:
        self._lock = threading.RLock()  # held by every transaction, and by a fork
        self._wake = threading.Condition(threading.Lock())  # guards what follows
        self._queue: deque[SpanRows] = deque()
        self._queued_bytes = 0
        self._writing = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._pid = os.getpid()

    # --- what callers use ------------------------------------------------------------------------------------------

    def submit(self, rows: Sequence[SpanRows]) -> bool:
        """Queue spans' rows; never blocks on the disk. Return False if some did not fit and were dropped."""
        with self._wake:
            accepted = 0
            for row in rows:
                if self._closed or self._queued_bytes + row.bytes > self._queue_bytes:
                    break
                self._queue.append(row)
                self._queued_bytes += row.bytes
                accepted += 1
            if accepted and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="corevital-store", daemon=True)
                self._thread.start()
            self._wake.notify_all()
        if accepted < len(rows):
            self._drop(len(rows) - accepted, "the queue is full")
        return accepted == len(rows)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until the queue is written; return False after `timeout` seconds."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._queue and not self._writing, timeout)

    def close(self, timeout: float = 30.0) -> None:
        """Write what is queued and close the file."""
        self.flush(timeout)
        with self._wake:
            self._closed = True
            thread = self._thread
            self._wake.notify_all()
        if thread is not None:
            thread.join(timeout)

    # --- the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    break
                batch = list(self._queue)
                self._queue.clear()
                self._queued_bytes = 0
                self._writing = True
            try:
                self._write(batch)
            except Exception as error:
                self._failed(error, len(batch))
            finally:
                with self._wake:
                    self._writing = False
                    self._wake.notify_all()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _write(self, batch: Sequence[SpanRows]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            with self._lock:
                try:
                    self._transaction(self._open(), batch)
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or attempt == ATTEMPTS:
                        raise
                else:
                    self.last_error = None
                    return
            time.sleep(0.05 * attempt)  # outside the lock: a fork may go ahead

    def _open(self) -> sqlite3.Connection:
        """Return the connection, a new one if the file was deleted or replaced since."""
        if self._connection is not None and self._identity != _identity(self.path):
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = open_database(self.path)
            self._identity = _identity(self.path)
        return self._connection

    def _transaction(self, connection: sqlite3.Connection, batch: Sequence[SpanRows]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for rows in batch:
                _write_span(connection, rows)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _failed(self, error: Exception, count: int) -> None:
        if isinstance(error, StoreError):
            self.last_error = error
        elif isinstance(error, sqlite3.Error):
            self.last_error = explain(error, self.path)
        else:
            self.last_error = StoreError(f"{self.path}: {type(error).__name__} while writing.")
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
        self._drop(count, str(self.last_error))

    def _drop(self, count: int, reason: str) -> None:
        first = not self.dropped
        self.dropped += count
        if first:
            logger.warning("CoreVital's store drops runs: %s Further drops are counted, not logged.", reason)

    # --- fork ------------------------------------------------------------------------------------------------------

    def _after_fork_in_child(self) -> None:
        if self._connection is not None:
            self._orphans.append(self._connection)
        self._reset()


def _write_span(connection: sqlite3.Connection, rows: SpanRows) -> None:
    connection.execute(_INSERT_RESOURCE, rows.resource)
    connection.execute(_INSERT_SCOPE, rows.scope)
    resource_id = _id(connection, "resources", rows.resource)
    scope_id = _id(connection, "scopes", rows.scope)
    # A second delivery replaces the first with all that hangs on it.
    connection.execute("DELETE FROM spans WHERE trace_id = ? AND span_id = ?", rows.span[:2])
    connection.execute(_INSERT_SPAN, (*rows.span, resource_id, scope_id))
    connection.executemany(_INSERT_EVENT, rows.events)
    connection.executemany(_INSERT_LINK, rows.links)
    if rows.run is not None:
        connection.execute(_INSERT_RUN, rows.run)


def _id(connection: sqlite3.Connection, table: str, row: Row) -> int:
    return int(connection.execute(f"SELECT id FROM {table} WHERE digest = ?", row[:1]).fetchone()[0])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _close_at_exit(reference: "weakref.ref[StoreWriter]") -> None:
    writer = reference()
    if writer is not None and writer._pid == os.getpid():
        writer.close(timeout=10.0)


_held: "list[StoreWriter]" = []  # those whose locks the fork under way has taken


def _before_fork() -> None:
    _held.extend(_writers)
    for writer in _held:
        writer._lock.acquire()
        writer._wake.acquire()


def _after_fork_in_parent() -> None:
    while _held:
        writer = _held.pop()
        writer._wake.release()
        writer._lock.release()


def _after_fork_in_child() -> None:
    _held.clear()
    for writer in list(_writers):
        writer._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
