"""The one place where CoreVital's own errors end: they are logged once, counted, and never reach `generate()`."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .error_text import describe
from .forks import held_by_forks

logger = logging.getLogger("opentelemetry_instrumentation_corevital")

BREAKER_LIMIT: Final = 10
"""Internal errors after which capturing stops for the rest of the process."""


class _Errors:
    """Internal errors of this process."""

    def __init__(self) -> None:
        self._lock = held_by_forks(threading.Lock())
        self._seen: set[tuple[str, str]] = set()
        self._count = 0

    def add(self, kind: tuple[str, str]) -> tuple[bool, bool]:
        """Count an error; return whether it is the first of its kind, and whether it opens the breaker."""
        with self._lock:
            first = kind not in self._seen
            self._seen.add(kind)
            self._count += 1
            return first, self._count == BREAKER_LIMIT

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()
            self._count = 0

    @property
    def breaker_open(self) -> bool:
        return self._count >= BREAKER_LIMIT


_errors = _Errors()


def report_internal_error(site: str, error: BaseException) -> None:
    """Count an error of our own and log it, once per process, call site and exception class.

    Where it happened goes to the debug level.
    """
    kind = (site, type(error).__qualname__)
    first, opened = _errors.add(kind)
    if first:
        logger.warning(
            "CoreVital: %s in %s; telemetry of this run may be incomplete, generate() is not affected. "
            "Further errors of this kind are not logged; set this logger to DEBUG to see where it happened.",
            kind[1],
            site,
        )
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("CoreVital: internal error in %s: %s", site, describe(error))
    if opened:
        logger.warning("CoreVital: %d internal errors; capturing is off for the rest of this process", BREAKER_LIMIT)


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
    """Whether so many internal errors happened that capturing has stopped."""
    return _errors.breaker_open


def reset() -> None:
    """Forget all internal errors and close the breaker; called when instrumentation starts."""
    _errors.clear()
