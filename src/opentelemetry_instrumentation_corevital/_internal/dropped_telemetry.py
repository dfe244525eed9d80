"""Telemetry that was lost because it could not be stored: who is told, for the metric `corevital.dropped`."""

import logging
from collections.abc import Callable

from .error_text import describe

logger = logging.getLogger(__name__)

_listeners: list[Callable[[int], None]] = []


def listen(listener: Callable[[int], None]) -> None:
    """Call `listener` with the number of spans, log records and metrics of each loss, in the thread that notices it."""
    _listeners.append(listener)


def ignore(listener: Callable[[int], None]) -> None:
    """Undo `listen`."""
    if listener in _listeners:
        _listeners.remove(listener)


def tell(count: int) -> None:
    """Tell every listener; never raises."""
    for listener in tuple(_listeners):
        try:
            listener(count)
        except Exception as error:  # foreign instruments
            logger.debug("CoreVital: a loss could not be counted: %s", describe(error))
