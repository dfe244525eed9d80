"""What became of records that were handed to the writer together."""

import threading
from collections.abc import Sequence
from typing import Final

_MOST_REASONS: Final = 8


class Receipt:
    """Counts of what was stored, refused for its own fault, and failed for the file's; the three add up at the end.

    Args:
        records: how many there are.
    """

    def __init__(self, records: int) -> None:
        self.records = records
        self.stored_records = 0
        """Committed."""
        self.rejected_records = 0
        """Malformed: to send them again is of no use."""
        self.failed_records = 0
        """The file could not be written, or too much waited for it: they may be sent again."""
        self.crowded = False
        """Whether they failed since too much waited for the file, before it was tried."""
        self.reasons: list[str] = []
        """Why, each once."""
        self.notes: list[str] = []
        """What is wrong with values of records that are stored; they read as absent."""
        # Held as a lock, never by way of the condition, whose `__exit__` is Python: a Ctrl-C that comes there leaves it
        # locked for good, and the writer waiting for it.
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)

    @property
    def complete(self) -> bool:
        """Whether the fate of every record is known."""
        return self.stored_records + self.rejected_records + self.failed_records >= self.records

    @property
    def durable(self) -> bool:
        """Whether every record is committed."""
        return self.stored_records == self.records

    def wait(self, timeout: float) -> bool:
        """Wait until the fate of every record is known; return False after `timeout` seconds."""
        with self._guard:
            return self._changed.wait_for(lambda: self.complete, timeout)

    def stored(self, count: int) -> None:
        """Count records that are committed."""
        with self._guard:
            self.stored_records += count
            self._changed.notify_all()

    def rejected(self, count: int, reason: str) -> None:
        """Count records that no row can hold."""
        with self._guard:
            self.rejected_records += count
            self._because(reason)

    def noted(self, reasons: Sequence[str]) -> None:
        """Add what is wrong with values of records that are stored."""
        with self._guard:
            for reason in reasons[: _MOST_REASONS - len(self.notes)]:
                self.notes.append(reason)

    def failed(self, count: int, reason: str) -> None:
        """Count records that the file did not take."""
        with self._guard:
            self.failed_records += count
            self._because(reason)

    def _because(self, reason: str) -> None:
        if reason not in self.reasons and len(self.reasons) < _MOST_REASONS:
            self.reasons.append(reason)
        self._changed.notify_all()
