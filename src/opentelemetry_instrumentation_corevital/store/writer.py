"""A background thread that writes to the store: one connection, one transaction per batch, nobody waits for it.

What a fork does to it is in `forking.py`.
"""

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from ..error_text import describe
from . import forking
from .database import LockedError, StoreError
from .file import DATA_ERRORS, WatchedFile
from .paths import expanded
from .receipt import Receipt
from .retention import Keeper, Retention
from .rows import Lost, Record

logger = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Records that may wait for the disk; what comes beyond is dropped and counted."""
BATCH_RECORDS: Final = 512
"""Records of one transaction: other processes wait for its end, and so does a fork."""
PATIENCE: Final = 10.0
"""Seconds for which a batch is tried again while another process holds the file's lock."""
_BUSY_SECONDS: Final = 0.25  # of one try: the writer's lock is held meanwhile, and a fork waits for that

_Entry = tuple[Record, Receipt | None]
_Batch = Sequence[_Entry]


class StoreWriter:
    """Writes telemetry to one file. No method raises for a file that cannot be written.

    Args:
        path: the file; nothing is opened before the first `submit`.
        queue_bytes: bytes that may wait.
        patience: seconds for which a batch is tried again while another process holds the file's lock.
        synchronous: `NORMAL`: what is committed survives the process; `FULL`: a power cut, too.
        retention: what is removed from the file as it grows; None: nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        queue_bytes: int = QUEUE_BYTES,
        patience: float = PATIENCE,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        retention: Retention | None = None,
    ) -> None:
        self.path = expanded(path)
        self._named = path
        self._queue_bytes = queue_bytes
        self._patience = patience
        self._synchronous = synchronous
        self._keeper = Keeper(retention)
        self._told: set[str] = set()
        self._orphans: list[WatchedFile] = []
        self._closed = False
        self._reset()
        forking.watch(self)

    def _reset(self) -> None:
        self.last_error: StoreError | None = None
        """Why the last batch could not be written; None once one could."""
        self.dropped = 0
        """Records of this process that were not stored: malformed, too many, or the file could not be written."""
        self._lock = threading.RLock()  # held by every transaction, and by a fork
        self._file = WatchedFile(self._named, self._synchronous, _BUSY_SECONDS)
        # Guards what follows, `dropped` and `_told`. Never held by way of the condition, whose `__exit__` is Python: a
        # Ctrl-C that comes there leaves it locked for good.
        self._guard = threading.Lock()
        self._wake = threading.Condition(self._guard)
        self._queue: deque[_Entry] = deque()
        self._queued_bytes = 0  # of the queue and of the batch that is being written
        self._submitted = 0
        self._settled = 0  # written or dropped
        self._thread: threading.Thread | None = None

    # --- what callers use ------------------------------------------------------------------------------------------

    def submit(self, records: Sequence[Record]) -> bool:
        """Queue records; never waits for the disk. Return False if some did not fit and were dropped."""
        with self._guard:
            accepted = self._enqueue(records, None)
            reason = self._refusal()
        self.drop(len(records) - accepted, reason)
        return accepted == len(records)

    def store(self, records: Sequence[Record], timeout: float = 30.0) -> Receipt:
        """Queue records, all or none, and wait until they are committed.

        Returns:
            a receipt. What it says is stored has been committed, as durably as `synchronous` has it; what has `failed`
            may be sent again. After `timeout` seconds it is returned as it is, unfinished: then nothing is known of
            the rest, which may still be written.
        """
        receipt = Receipt(len(records))
        with self._guard:
            fits = not self._closed and self._queued_bytes + sum(each.bytes for each in records) <= self._queue_bytes
            if fits:
                self._enqueue(records, receipt)
            threadless, reason = self._thread is None, self._refusal()
        if not fits:
            receipt.crowded = not self._closed
            receipt.failed(len(records), reason)
        elif threadless:
            self._work_off()
        receipt.wait(timeout)
        return receipt

    def _enqueue(self, records: Sequence[Record], receipt: Receipt | None) -> int:
        """Queue records until one does not fit and return how many did; the caller holds `_guard`."""
        accepted = 0
        for record in records:
            if self._closed or self._queued_bytes + record.bytes > self._queue_bytes:
                break
            self._queue.append((record, receipt))
            self._queued_bytes += record.bytes
            accepted += 1
        self._submitted += accepted
        if accepted and self._thread is None:
            self._start()
        self._wake.notify_all()
        return accepted

    def _refusal(self) -> str:
        return f"{self.path}: {'is closed' if self._closed else 'too much waits for the disk'}."

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything submitted so far is written or dropped; return False after `timeout` seconds.

        Whether it could be written, `last_error` tells.
        """
        with self._guard:
            target, threadless = self._submitted, self._thread is None
        if threadless:
            self._work_off()
        with self._guard:
            return self._wake.wait_for(lambda: self._settled >= target, timeout)

    def close(self, timeout: float = 30.0) -> None:
        """Write what is queued, for at most about `timeout` seconds, and close the file. Later records are refused."""
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        with self._guard:
            self._closed = True
            thread = self._thread
            self._wake.notify_all()
        if thread is None:
            self._close_file()
        else:
            thread.join(max(0.1, deadline - time.monotonic()))

    def drop(self, count: int, reason: str, cause: BaseException | None = None) -> None:
        """Count records that cannot be stored, and log each reason once.

        Once, also since the log may be stored here too: a record about each loss would be lost and make another.
        """
        if not count:
            return
        with self._guard:
            self.dropped += count
            first = reason not in self._told
            self._told.add(reason)
        if first:
            logger.warning(
                "CoreVital's store loses telemetry: %s Further losses for this reason are counted, not logged.", reason
            )
            if cause is not None:
                logger.debug("CoreVital: internal error in the store: %s", describe(cause))

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
            with self._guard:
                self._wake.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    break
            self._work_off()
        self._close_file()

    def _work_off(self) -> None:
        """Write until the queue is empty."""
        while True:
            with self._guard:
                batch = [self._queue.popleft() for _ in range(min(BATCH_RECORDS, len(self._queue)))]
            if not batch:
                return
            try:
                self._write(batch)
                self._keeper.written()
                self._keep_small()
            finally:
                with self._guard:
                    self._settled += len(batch)
                    self._queued_bytes -= sum(record.bytes for record, _ in batch)
                    self._wake.notify_all()

    def _write(self, batch: _Batch) -> None:
        try:
            lost = self._write_patiently(batch)
        except DATA_ERRORS as error:
            if len(batch) > 1:  # one record's fault is not the others'
                for entry in batch:
                    self._write([entry])
                return
            self._written(batch[0], [Lost(1, f"a record could not be stored ({type(error).__name__}).")])
        except StoreError as error:
            self._failed(error, batch)
        except Exception as error:
            self._failed(StoreError(f"{self.path}: {type(error).__name__} while writing."), batch, error)
        else:
            for entry, losses in zip(batch, lost, strict=True):
                self._written(entry, losses)

    def _written(self, entry: _Entry, losses: Sequence[Lost]) -> None:
        """Say what became of a record, and of others that had to be given up for it."""
        for loss in losses:
            self.last_error = StoreError(f"{self.path}: {loss.reason}")
            self.drop(loss.records, str(self.last_error))
        receipt = entry[1]
        if receipt is not None:
            own = next((loss for loss in losses if loss.own), None)
            if own is None:
                receipt.stored(1)
            else:
                receipt.rejected(1, own.reason)

    def _failed(self, error: StoreError, batch: _Batch, cause: BaseException | None = None) -> None:
        """Give up records for the file's fault."""
        self.last_error = error
        self.drop(len(batch), str(error), cause)
        for _, receipt in batch:
            if receipt is not None:
                receipt.failed(1, str(error))

    def _write_patiently(self, batch: _Batch) -> list[Sequence[Lost]]:
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

    def _keep_small(self) -> None:
        """Remove what retention asks for, a slice per transaction; what goes wrong is tried again later."""
        while self._keeper.due():
            try:
                with self._lock, self._file.transaction() as connection:
                    self._keeper.slice(connection)
            except LockedError:
                return  # due again after the next batch
            except Exception:  # what is wrong with the file the next batch tells
                self._keeper.postpone()

    def _transaction(self, batch: _Batch) -> list[Sequence[Lost]]:
        with self._file.transaction() as connection:
            return [record.write(connection) for record, _ in batch]

    def _close_file(self) -> None:
        with self._lock:
            self._file.close()

    # --- fork ------------------------------------------------------------------------------------------------------

    def hold_for_fork(self) -> None:
        """Wait for the open transaction's end and let no other begin."""
        self._lock.acquire()
        self._guard.acquire()

    def release_after_fork(self) -> None:
        """Go on, in the process that forked."""
        self._guard.release()
        self._lock.release()

    def begin_anew(self) -> None:
        """Leave everything to the parent, in the process that the fork made."""
        self._orphans.append(self._file)
        self._reset()


def _flush_at_exit(reference: "weakref.ref[StoreWriter]") -> None:
    writer = reference()
    if writer is not None:
        writer.flush(timeout=10.0)
