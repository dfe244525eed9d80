"""SIGTERM: what was measured is exported before the process dies of it.

The SDK exports what it still holds when the interpreter exits. A process that dies of SIGTERM never comes there, and so
does a server that has shut down in order: uvicorn raises the signal again at its end.
"""

import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .flushing import finish

_held: Callable[[], Sequence[Any]] = tuple


def flush_at_sigterm(held: Callable[[], Sequence[Any]]) -> bool:
    """Shut the SDK down before SIGTERM ends the process; return False where somebody else handles the signal.

    The process still dies of the signal, as its parent expects. Only the main thread may set a handler.

    Args:
        held: returns the providers that are to be shut down.
    """
    global _held  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, _flush_and_die):
        return False
    _held = held
    signal.signal(signal.SIGTERM, _flush_and_die)
    return True


def leave_sigterm() -> None:
    """Undo `flush_at_sigterm`, unless somebody has set another handler since."""
    global _held  # noqa: PLW0603
    _held = tuple
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _flush_and_die:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _flush_and_die(_signal: int, _frame: Any) -> None:
    try:
        finish(_held(), "shutdown")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
