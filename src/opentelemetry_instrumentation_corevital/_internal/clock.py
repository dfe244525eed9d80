"""A call's time: durations come from a monotonic clock, whatever happens to the system's."""

import time
from typing import Final

CLOCK_SKEW_NS: Final = 300 * 10**9
"""How far another machine's clock may be ahead."""


class Clock:
    """Unix time that never goes back: the system's when it was made, plus what has passed since."""

    def __init__(self) -> None:
        self._wall = time.time_ns() - time.perf_counter_ns()

    def now(self) -> int:
        """Return the Unix time in nanoseconds."""
        return self._wall + time.perf_counter_ns()
