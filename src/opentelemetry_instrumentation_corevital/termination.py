"""SIGTERM under zero-code start-up: what was measured is exported before the process dies of it.

The SDK exports what it still holds when the interpreter exits. A process that dies of SIGTERM never comes there, and so
does a server that has shut down in order: uvicorn raises the signal again at its end.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0
"""How long a dying process waits for its exporters."""


def flush_at_sigterm() -> bool:
    """Shut the SDK down before SIGTERM ends the process; return False where somebody else handles the signal.

    The process still dies of the signal, as its parent expects. Only the main thread may set a handler.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _flush_and_die)
    return True


def leave_sigterm() -> None:
    """Undo `flush_at_sigterm`, unless somebody has set another handler since."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _flush_and_die:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _flush_and_die(_signal: int, _frame: Any) -> None:
    # In other threads: this one may hold a lock that the exporters need, and then it is waited for, but not for ever.
    providers = (trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider())
    threads = [threading.Thread(target=_shut_down, args=(provider,), daemon=True) for provider in providers]
    deadline = time.monotonic() + FLUSH_SECONDS
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


def _shut_down(provider: Any) -> None:
    shutdown: Callable[[], None] | None = getattr(provider, "shutdown", None)
    if shutdown is None:
        return
    try:
        shutdown()
    except Exception as error:
        logger.warning("CoreVital: %s at the shutdown of %s", type(error).__name__, type(provider).__name__)
