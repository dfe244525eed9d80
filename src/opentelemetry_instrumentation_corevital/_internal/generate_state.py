"""Whether this thread is inside a `generate()` that CoreVital sees, and how long telemetry may keep it waiting there.

The recorder sets it. What may run on the caller's thread, as an exporter behind `SimpleSpanProcessor` does, reads it.
"""

import os
import threading
from typing import Final

from .greenlets import PerGreenlet

PATIENCE: Final = 0.5
"""Seconds for which one `generate()` waits for telemetry to be stored, all its exports together."""


class _GenerateThread(threading.local):
    waited = 0.0

    def __init__(self) -> None:
        self.in_generate: PerGreenlet[bool] = PerGreenlet()
        """Of those in which a call is under way: whether it may be measured."""


thread: Final = _GenerateThread()
_generates_in: int | None = None
"""The process whose outermost call began last: in a forked child its parent's, until it generates itself."""


def has_generated() -> bool:
    """Return whether an outermost `generate()` has begun in this process; those of its parents do not count."""
    return _generates_in == os.getpid()


def begin(*, measured: bool) -> None:
    """Note that this thread, or its greenlet, enters an outermost `generate()`, and whether that may be measured."""
    global _generates_in  # noqa: PLW0603
    _generates_in = os.getpid()
    thread.waited = 0.0
    thread.in_generate.set(measured)


def end() -> None:
    """Note that it has left it."""
    thread.in_generate.set(None)


def in_generate() -> bool:
    """Return whether this thread, or its greenlet, is inside a `generate()` that passed the recorder."""
    return thread.in_generate.get() is not None


def patience(otherwise: float) -> float:
    """Return how many seconds this thread may wait now: what is left of `PATIENCE`, outside of a call `otherwise`."""
    return max(0.0, PATIENCE - thread.waited) if in_generate() else otherwise


def waited(seconds: float) -> None:
    """Take a wait off this thread's patience."""
    thread.waited += seconds
