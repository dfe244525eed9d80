"""Whether this thread is inside a `generate()` that CoreVital sees, and how long telemetry may keep it waiting there.

The recorder sets it. What may run on the caller's thread, as an exporter behind `SimpleSpanProcessor` does, reads it.
"""

import threading
from typing import Final

from .greenlets import PerGreenlet

PATIENCE: Final = 0.5
"""Seconds for which one `generate()` waits for telemetry to be stored, all its exports together."""


class _Thread(threading.local):
    waited = 0.0

    def __init__(self) -> None:
        self.inside: PerGreenlet[bool] = PerGreenlet()
        """Of those in which a call is under way: whether it may be measured."""


thread: Final = _Thread()
calls = 0
"""Outermost calls of this process that have begun; roughly, where threads count at once."""


def begin(*, measured: bool) -> None:
    """Note that this thread, or its greenlet, enters an outermost `generate()`, and whether that may be measured."""
    global calls  # noqa: PLW0603
    calls += 1
    thread.waited = 0.0
    thread.inside.set(measured)


def end() -> None:
    """Note that it has left it."""
    thread.inside.set(None)


def inside() -> bool:
    """Return whether this thread, or its greenlet, is inside a `generate()` that passed the recorder."""
    return thread.inside.get() is not None


def patience(otherwise: float) -> float:
    """Return how many seconds this thread may wait now: what is left of `PATIENCE`, outside of a call `otherwise`."""
    return max(0.0, PATIENCE - thread.waited) if inside() else otherwise


def waited(seconds: float) -> None:
    """Take a wait off this thread's patience."""
    thread.waited += seconds
