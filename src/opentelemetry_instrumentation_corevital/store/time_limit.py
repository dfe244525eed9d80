"""How long one query may take: what one reader asks shall not keep others waiting."""

import sqlite3
import time
from typing import Final

_STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the clock: about a millisecond."""


class TimeLimit:
    """Interrupts the queries of a connection that take too long.

    Args:
        connection: used by one thread at a time.
        seconds: for each query, from `begin`.
    """

    def __init__(self, connection: sqlite3.Connection, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        connection.set_progress_handler(self._is_over, _STEPS)

    def begin(self) -> None:
        """Count from now."""
        self._until = time.monotonic() + self._seconds

    def _is_over(self) -> bool:
        return time.monotonic() > self._until
