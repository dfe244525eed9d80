"""Exporting what providers hold, before a process ends that runs no exit handlers."""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider

logger = logging.getLogger(__name__)

_LEARNER: Final = f"{__package__.rpartition('.')[0]}.baselines.learner"  # not imported: a child may never generate

FLUSH_SECONDS: Final = 5.0
"""How long a process that ends waits for its exporters."""

_more: list[Any] = []
"""What is flushed beside the providers that calls are reported to."""


def flush_too(more: Iterable[Any]) -> None:
    """Flush these as well where a process ends; each has `force_flush()` and `shutdown()`, as a provider has."""
    _more.extend(more)


def flush_too_no_more(more: Iterable[Any]) -> None:
    """Undo `flush_too`."""
    for each in more:
        if each in _more:
            _more.remove(each)


def providers(given: Iterable[Any], *, metered: bool = True) -> list[Any]:
    """Return the providers that `instrument()` was given, and the global ones of now.

    Args:
        given: those of `instrument()`; None stands for a global one.
        metered: whether meter providers are among them. They export all that they have, whether it is new or not.
    """
    found = [*given, trace.get_tracer_provider(), get_logger_provider(), *_more]
    if metered:
        found.append(metrics.get_meter_provider())
    else:
        found = [provider for provider in found if not hasattr(provider, "get_meter")]
    return list({id(provider): provider for provider in found if provider is not None}.values())


def baseline_learners() -> list[Any]:
    """Return what has learned baselines in this process, if anything has; it is flushed as a provider is."""
    learner = sys.modules.get(_LEARNER)
    return [] if learner is None else [learner.LEARNER]


def finish(held: Sequence[Any], method: Literal["force_flush", "shutdown"]) -> None:
    """Flush providers or shut them down, all at once; return after `FLUSH_SECONDS` at the latest. Never raises."""
    # In other threads: this one may hold a lock that the exporters need, and then it is waited for, but not for ever.
    threads = [threading.Thread(target=_finish, args=(provider, method), daemon=True) for provider in held]
    deadline = time.monotonic() + FLUSH_SECONDS
    started = [thread for thread in threads if _start(thread)]
    for thread in started:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in started):
        logger.warning("CoreVital: exporters took more than %g s; what they still held is lost", FLUSH_SECONDS)


def _start(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:  # no thread to be had
        return False
    return True


def _finish(provider: Any, method: str) -> None:
    end = getattr(provider, method, None)  # what stands for a provider that nobody has set has none
    try:
        if end is not None:
            end()
    except Exception as error:
        logger.warning("CoreVital: %s at the %s of %s", type(error).__name__, method, type(provider).__name__)
