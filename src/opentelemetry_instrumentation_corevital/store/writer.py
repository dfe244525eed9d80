"""A background thread that writes to the store: one connection, one transaction per batch.

Callers wait for it as long as they choose. What a fork does to it is in `writers_across_forks.py`.
"""

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal

from .._internal import dropped_telemetry
from .._internal.error_text import describe
from . import writers_across_forks
from .common_rows import Lost, Record
from .database import LockedError
from .file_connection import DATA_ERRORS, WatchedFile
from .receipt import Receipt
from .retention import Keeper, Retention
from .store_error import StoreError
from .store_paths import expanded

logger = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Records that may wait for the disk; what comes beyond is dropped and counted."""
BATCH_RECORDS: Final = 512
"""Records of one transaction: other processes wait for its end, and so does a fork."""
PATIENCE: Final = 10.0
"""Seconds for which a batch is tried again while another process holds the file's lock."""
EXIT_SECONDS: Final = 10.0
"""How long the end of the interpreter waits for the file."""
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
        writers_across_forks.watch(self)

    def _reset(self) -> None:
        self.last_error: StoreError | None = None
        """Why the last batch could not be written; None once one could."""
        self.dropped = 0
        """Records of this process that were not stored: malformed, too many, or the file could not be written."""
        self.unwritten = 0
        """Those of them that were well-formed."""
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
        self._answered = 0  # of the batch that is being written: those of which it is said what became of them
        self._thread: threading.Thread | None = None

    # --- what callers use ------------------------------------------------------------------------------------------

    def submit(self, records: Sequence[Record]) -> bool:
        """Queue records; never waits for the disk. Return False if some did not fit and were dropped."""
        return self._accept(records, None) == len(records)

    def write(self, records: Sequence[Record], timeout: float) -> Receipt:
        """Queue as many records as fit and wait until they are committed; for those who cannot send them again.

        What does not fit is dropped.

        Returns:
            a receipt, as that of `store`; what is still unknown after `timeout` seconds is written behind.
        """
        receipt = Receipt(len(records))
        refused = len(records) - self._accept(records, receipt)
        if refused:
            receipt.failed(refused, self._refusal())
        if self._thread is None:
            self._work_off(min(timeout, self._patience))
        receipt.wait(timeout)
        return receipt

    def _accept(self, records: Sequence[Record], receipt: Receipt | None) -> int:
        """Queue records until one does not fit, drop the rest, and return how many fitted."""
        with self._guard:
            accepted = self._enqueue(records, receipt)
            self.unwritten += len(records) - accepted
            reason = self._refusal()
        self.drop(len(records) - accepted, reason)
        return accepted

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
        if accepted:
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
            if self._queue:
                self._start()
            target, threadless = self._submitted, self._thread is None
        if threadless:
            self._work_off(min(timeout, self._patience))
        with self._guard:
            return self._wake.wait_for(lambda: self._settled >= target, timeout)

    def flush_at_exit(self) -> None:
        """Wait until everything is written, and drop what the file has not taken within `EXIT_SECONDS`."""
        if not self.flush(EXIT_SECONDS):
            self._give_up(f"did not take everything within {EXIT_SECONDS:g} s of the interpreter's end.")

    def close(self, timeout: float = 30.0) -> None:
        """Write what is queued, for at most about `timeout` seconds, and close the file. Later records are refused.

        What the file has not taken by then is dropped.
        """
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        with self._guard:
            self._closed = True
            thread = self._thread
            self._wake.notify_all()
        self._give_up(f"did not take everything within {timeout:g} s of its closing.")
        if thread is not None:
            thread.join(max(0.1, deadline - time.monotonic()))
        if thread is None or not thread.is_alive():
            self._close_file()

    def retain(self, retention: Retention) -> None:
        """Remove from now on what another retention asks for."""
        self._keeper = Keeper(retention)

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
        dropped_telemetry.tell(count)
        if first:
            # A handler or filter of the program's own may raise: neither this thread nor the writer's ends of that.
            with suppress(Exception):
                logger.warning(
                    "CoreVital's store loses telemetry: %s Further losses for this reason are counted, not logged.",
                    reason,
                )
                if cause is not None:
                    logger.debug("CoreVital: internal error in the store: %s", describe(cause))

    # --- the thread ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the thread if there is none, or if it has died; the caller holds `_guard`."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = None
        thread = threading.Thread(target=self._work, name="corevital-store", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # no thread to be had, as in Python 3.12 while the interpreter ends; flush() and close() write then
        self._thread = thread
        # Only flushed there: what ends later, as a tracer provider that was made earlier does, has telemetry to come.
        atexit.register(_flush_at_exit, weakref.ref(self))

    def _work(self) -> None:
        try:
            while True:
                with self._guard:
                    self._wake.wait_for(lambda: self._queue or self._closed)
                    if not self._queue:
                        break
                self._work_off()
        except BaseException:  # ended from outside: another thread goes on with what waits
            with self._guard:
                self._thread = None
                if self._queue:
                    self._start()
            raise
        self._close_file()

    def _work_off(self, patience: float | None = None) -> None:
        """Write until the queue is empty; try a batch for `patience` seconds, as many as the writer has if None."""
        while True:
            with self._guard:
                batch = [self._queue.popleft() for _ in range(min(BATCH_RECORDS, len(self._queue)))]
            if not batch:
                return
            self._answered = 0
            try:
                self._write(batch, self._patience if patience is None else patience)
                self._keeper.written()
                self._keep_small()
            except BaseException:  # what ends a thread from outside
                if rest := batch[self._answered :]:
                    self._failed(StoreError(f"{self.path}: the thread that writes it was ended."), rest)
                raise
            finally:
                self._settle(batch)

    def _settle(self, batch: _Batch) -> None:
        """Note that the fate of records is known."""
        with self._guard:
            self._settled += len(batch)
            self._queued_bytes -= sum(record.bytes for record, _ in batch)
            self._wake.notify_all()

    def _give_up(self, reason: str) -> None:
        """Drop what still waits."""
        with self._guard:
            late = list(self._queue)
            self._queue.clear()
        if late:
            self._failed(StoreError(f"{self.path}: {reason}"), late)
            self._settle(late)

    def _write(self, batch: _Batch, patience: float) -> None:
        try:
            lost = self._write_patiently(batch, patience)
        except DATA_ERRORS as error:
            if len(batch) > 1:  # one record's fault is not the others'
                for entry in batch:
                    self._write([entry], patience)
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
        self._answered += 1
        for loss in losses:
            if loss.records:
                self.last_error = StoreError(f"{self.path}: {loss.reason}")
                self.drop(loss.records, str(self.last_error))
        receipt = entry[1]
        if receipt is not None:
            receipt.noted([loss.reason for loss in losses if not loss.records])
            own = next((loss for loss in losses if loss.own), None)
            if own is None:
                receipt.stored(1)
            else:
                receipt.rejected(1, own.reason)

    def _failed(self, error: StoreError, batch: _Batch, cause: BaseException | None = None) -> None:
        """Give up records for the file's fault."""
        self._answered += len(batch)
        with self._guard:
            self.unwritten += len(batch)
        self.last_error = error
        self.drop(len(batch), str(error), cause)
        for _, receipt in batch:
            if receipt is not None:
                receipt.failed(1, str(error))

    def _write_patiently(self, batch: _Batch, patience: float) -> list[Sequence[Lost]]:
        deadline, pause = time.monotonic() + patience, 0.01
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
        writer.flush_at_exit()
