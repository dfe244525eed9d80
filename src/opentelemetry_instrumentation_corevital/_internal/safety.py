"""The one place where CoreVital's own errors end: they are logged once, counted, and never reach `generate()`.

A circuit breaker counts them by kind, the place and the exception's class. Ten of one kind in ten minutes open it: no
call is recorded for a minute. Then calls are recorded again, on trial: one more error of that kind opens it at once,
for twice as long each time, up to an hour; ten minutes without one end the trial.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from .error_text import describe
from .forks import held_by_forks

logger = logging.getLogger("opentelemetry_instrumentation_corevital")

BREAKER_LIMIT: Final = 10
"""Internal errors of one kind, within `BREAKER_WINDOW`, after which the breaker opens."""
BREAKER_WINDOW: Final = 600.0
"""Seconds in which errors count together, and after which a trial without an error is over."""
BREAKER_PAUSE: Final = 60.0
"""Seconds for which the breaker opens first."""
BREAKER_LONGEST: Final = 3600.0
"""Seconds for which it opens at most."""

ErrorKind = tuple[str, str]
"""Where an error was caught, and its class."""


@dataclass(slots=True)
class _Fault:
    """The errors of one kind."""

    times: deque[float] = field(default_factory=lambda: deque(maxlen=BREAKER_LIMIT))
    pause: float = 0.0
    """Seconds for which the breaker was opened last; 0 where there is no trial."""
    closes: float = 0.0
    """When it closed after that, or will."""

    def add(self, now: float) -> bool:
        """Count an error; return whether it opens the breaker."""
        if now < self.closes:  # of a call that began before
            return False
        if self.pause and now - self.closes > BREAKER_WINDOW:
            self.pause = 0.0
        self.times.append(now)
        full = len(self.times) == BREAKER_LIMIT and now - self.times[0] <= BREAKER_WINDOW
        if not self.pause and not full:
            return False
        self.pause = min(2 * self.pause or BREAKER_PAUSE, BREAKER_LONGEST)
        self.closes = now + self.pause
        self.times.clear()
        return True


class _Errors:
    """Internal errors of this process."""

    def __init__(self) -> None:
        self._lock = held_by_forks(threading.Lock())
        self._faults: dict[ErrorKind, _Fault] = {}
        self._closes = 0.0

    def add(self, kind: ErrorKind, now: float) -> tuple[bool, float]:
        """Count an error; return whether it is the first of its kind, and for how many seconds it opens the breaker."""
        with self._lock:
            first = kind not in self._faults
            fault = self._faults.setdefault(kind, _Fault())
            opens = fault.add(now)
            self._closes = max(self._closes, fault.closes)
            return first, fault.pause if opens else 0.0

    def is_first(self, kind: ErrorKind) -> bool:
        """Take note of an error that does not count for the breaker; return whether it is the first of its kind."""
        with self._lock:
            first = kind not in self._faults
            self._faults.setdefault(kind, _Fault())
            return first

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._closes = 0.0

    def breaker_open(self, now: float) -> bool:
        return now < self._closes


_errors = _Errors()


def report_internal_error(site: str, error: BaseException) -> None:
    """Count an error of our own and log it, once per process, call site and exception class.

    Where it happened goes to the debug level.
    """
    kind = (site, type(error).__qualname__)
    first, pause = _errors.add(kind, monotonic())
    if first:
        logger.warning(
            "CoreVital: %s in %s; telemetry of this run may be incomplete, generate() is not affected. "
            "Further errors of this kind are not logged; set this logger to DEBUG to see where it happened.",
            kind[1],
            site,
        )
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("CoreVital: internal error in %s: %s", site, describe(error))
    if pause:
        logger.warning(
            "CoreVital: %s in %s keeps coming back; no run is recorded for %d s, then it is tried again",
            kind[1],
            site,
            pause,
        )


def report_disagreement(rule: str, numbers: str) -> None:
    """Log, once per process and rule, that numbers of a run disagree which must not.

    It does not open the breaker: the run is whole, and says that it is in doubt.
    """
    if _errors.is_first(("consistency", rule)):
        logger.warning(
            "CoreVital: the numbers of a run disagree, which is an error of CoreVital's own: %s. The run says so in "
            "corevital.capture.absent; further ones of this kind are counted, not logged.",
            numbers,
        )


@contextmanager
def shielded(site: str) -> Iterator[None]:
    """Run a block of our own code so that no `Exception` leaves it.

    `site` names the block in the warning. `BaseException`s that are not `Exception`s (Ctrl-C) pass through.
    """
    try:
        yield
    except Exception as error:
        report_internal_error(site, error)


def breaker_open() -> bool:
    """Whether an internal error has come back so often that no run is recorded for a while."""
    return _errors.breaker_open(monotonic())


def reset() -> None:
    """Forget all internal errors and close the breaker; called when instrumentation starts."""
    _errors.clear()
