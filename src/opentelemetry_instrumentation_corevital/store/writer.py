"""A background thread that writes to the store: one connection, one transaction per batch, nobody waits for it.

A fork copies a process with one thread only. So a fork takes the writer's lock first, which every transaction holds:
no transaction is open and no thread is inside SQLite while the process is copied. The child starts with an empty
queue (what was queued is the parent's to write), new locks and no connection; the parent's connection is kept
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

from .database import LockedError, StoreError, explain, open_database, roll_back
from .rows import Lost, Record

logger = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Records that may wait for the disk; what comes beyond is dropped and counted."""
BATCH_RECORDS: Final = 512
"""Records of one transaction: other processes wait for its end, and so does a fork."""
PATIENCE: Final = 10.0
"""Seconds for which a batch is tried again while another process holds the file's lock."""
_BUSY_SECONDS: Final = 0.25  # of one try: the writer's lock is held meanwhile, and a fork waits for that

# What is wrong with the rows, not with the file. Types are checked in `rows`; this is for what nobody thought of.
_DATA_ERRORS: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)


class StoreWriter:
    """Writes telemetry to one file. No method raises for a file that cannot be written.

    Args:
        path: the file; nothing is opened before the first `submit`.
        queue_bytes: bytes that may wait.
        patience: seconds for which a batch is tried again while another process holds the file's lock.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, queue_bytes: int = QUEUE_BYTES, patience: float = PATIENCE
    ) -> None:
        self.path = Path(path)
        self._queue_bytes = queue_bytes
        self._patience = patience
        self._told: set[str] = set()
        self._orphans: list[sqlite3.Connection] = []
        self._closed = False
        self._reset()
        with _fork_lock:
            _writers.add(self)

    def _reset(self) -> None:
        self.last_error: StoreError | None = None
        """Why the last batch could not be written; None once one could."""
        self.dropped = 0
        """Records of this process that were not stored: malformed, too many, or the file could not be written."""
        self._lock = threading.RLock()  # held by every transaction, and by a fork
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._wake = threading.Condition(threading.Lock())  # guards what follows, `dropped` and `_told`
        self._queue: deque[Record] = deque()
        self._queued_bytes = 0  # of the queue and of the batch that is being written
        self._submitted = 0
        self._settled = 0  # written or dropped
        self._thread: threading.Thread | None = None

    # --- what callers use ------------------------------------------------------------------------------------------

    def submit(self, records: Sequence[Record]) -> bool:
        """Queue records; never waits for the disk. Return False if some did not fit and were dropped."""
        with self._wake:
            accepted = 0
            for record in records:
                if self._closed or self._queued_bytes + record.bytes > self._queue_bytes:
                    break
                self._queue.append(record)
                self._queued_bytes += record.bytes
                accepted += 1
            self._submitted += accepted
            reason = "is closed" if self._closed else "too much waits for the disk"
            if accepted and self._thread is None:
                self._start()
            self._wake.notify_all()
        self.drop(len(records) - accepted, f"{self.path}: {reason}.")
        return accepted == len(records)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything submitted so far is written or dropped; return False after `timeout` seconds.

        Whether it could be written, `last_error` tells.
        """
        with self._wake:
            target, threadless = self._submitted, self._thread is None
        if threadless:
            self._work_off()
        with self._wake:
            return self._wake.wait_for(lambda: self._settled >= target, timeout)

    def close(self, timeout: float = 30.0) -> None:
        """Write what is queued, for at most about `timeout` seconds, and close the file. Later records are refused."""
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        with self._wake:
            self._closed = True
            thread = self._thread
            self._wake.notify_all()
        if thread is None:
            self._disconnect()
        else:
            thread.join(max(0.1, deadline - time.monotonic()))

    def drop(self, count: int, reason: str, cause: BaseException | None = None) -> None:
        """Count records that cannot be stored, and log each reason once.

        Once, also since the log may be stored here too: a record about each loss would be lost and make another.
        """
        if not count:
            return
        with self._wake:
            self.dropped += count
            first = reason not in self._told
            self._told.add(reason)
        if first:
            logger.warning(
                "CoreVital's store loses telemetry: %s Further losses for this reason are counted, not logged.", reason
            )
            if cause is not None:
                logger.debug("CoreVital: internal error in the store", exc_info=cause)

    # --- the thread ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="corevital-store", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # no thread to be had, as in Python 3.12 while the interpreter ends; flush() and close() write then
        self._thread = thread
        # Only flushed there: what ends later, as a tracer provider that was made earlier does, has telemetry to come.
        atexit.register(_flush_at_exit, weakref.ref(self))

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    break
            self._work_off()
        self._disconnect()

    def _work_off(self) -> None:
        """Write until the queue is empty."""
        while True:
            with self._wake:
                batch = [self._queue.popleft() for _ in range(min(BATCH_RECORDS, len(self._queue)))]
            if not batch:
                return
            try:
                self._write(batch)
            finally:
                with self._wake:
                    self._settled += len(batch)
                    self._queued_bytes -= sum(record.bytes for record in batch)
                    self._wake.notify_all()

    def _write(self, batch: Sequence[Record]) -> None:
        try:
            lost = self._write_patiently(batch)
        except _DATA_ERRORS as error:
            if len(batch) > 1:  # one record's fault is not the others'
                for record in batch:
                    self._write([record])
                return
            self._failed(StoreError(f"{self.path}: a record could not be stored ({type(error).__name__})."), 1)
        except StoreError as error:
            self._failed(error, len(batch))
        except Exception as error:
            self._failed(StoreError(f"{self.path}: {type(error).__name__} while writing."), len(batch), error)
        else:
            for loss in lost:
                self._failed(StoreError(f"{self.path}: {loss.reason}"), loss.records)

    def _failed(self, error: StoreError, count: int, cause: BaseException | None = None) -> None:
        self.last_error = error
        self.drop(count, str(error), cause)

    def _write_patiently(self, batch: Sequence[Record]) -> list[Lost]:
        deadline, pause = time.monotonic() + self._patience, 0.01
        while True:
            try:
                with self._lock:
                    lost = self._transaction(batch)
                self.last_error = None
                return lost
            except LockedError:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)  # outside the lock: a fork may go ahead
            pause = min(2 * pause, 0.5)

    def _transaction(self, batch: Sequence[Record]) -> list[Lost]:
        connection = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                lost = [loss for record in batch for loss in record.write(connection)]
                connection.execute("COMMIT")
            except BaseException:
                roll_back(connection)
                raise
        except _DATA_ERRORS:
            raise
        except sqlite3.Error as error:
            self._disconnect()  # a new connection finds out what a damaged or exchanged file is now
            raise explain(error, self.path) from None
        return lost

    def _connect(self) -> sqlite3.Connection:
        """Return the connection, a new one if the file was deleted or replaced since."""
        if self._connection is not None and self._identity != _identity(self.path):
            self._disconnect()
        if self._connection is None:
            self._connection = open_database(self.path, busy_seconds=_BUSY_SECONDS)
            self._identity = _identity(self.path)
        return self._connection

    def _disconnect(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # --- fork ------------------------------------------------------------------------------------------------------

    def hold_for_fork(self) -> None:
        """Wait for the open transaction's end and let no other begin."""
        self._lock.acquire()
        self._wake.acquire()

    def release_after_fork(self) -> None:
        """Go on, in the process that forked."""
        self._wake.release()
        self._lock.release()

    def begin_anew(self) -> None:
        """Leave everything to the parent, in the process that the fork made."""
        if self._connection is not None:
            self._orphans.append(self._connection)
        self._reset()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _flush_at_exit(reference: "weakref.ref[StoreWriter]") -> None:
    writer = reference()
    if writer is not None:
        writer.flush(timeout=10.0)


# --- fork ------------------------------------------------------------------------------------------------------------

_writers: "weakref.WeakSet[StoreWriter]" = weakref.WeakSet()
_fork_lock = threading.Lock()  # one fork at a time, no new writer meanwhile
_held: "list[StoreWriter]" = []  # those that wait for the fork under way


def _before_fork() -> None:
    _fork_lock.acquire()
    for writer in list(_writers):
        writer.hold_for_fork()
        _held.append(writer)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release_after_fork()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    global _fork_lock  # noqa: PLW0603
    _fork_lock = threading.Lock()
    while _held:
        _held.pop().begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
