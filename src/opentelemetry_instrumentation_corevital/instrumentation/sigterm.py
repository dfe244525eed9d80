"""SIGTERM: what was measured is exported before the process dies of it.

The SDK exports what it still holds when the interpreter exits. A process that dies of SIGTERM never comes there, and so
does a server that has shut down in order: uvicorn raises the signal again at its end.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from .flushing import finish
from .signal_reminder import remind, stop_reminding

_held: Callable[[], Sequence[Any]] = tuple
_is_dying = False
_forking: tuple[int, int, int] | None = None
"""In a child: which frame has forked it, of which code, and where in it; it stands there until all hooks have run."""
_of_forks = threading.local()  # the signals that each forking thread blocked before, while it forks


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


def nobody_minds_sigterm() -> bool:
    """Return whether SIGTERM just ends the process: also where a thread left our handler, which it cannot unset."""
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL or (_is_set() and _held is tuple)


def insist_on_sigterm() -> None:
    """See to it that the handler also runs where the main thread waits in C, as a pool's worker does for work.

    For children of `multiprocessing`, which SIGTERM often ends. A program's own process may use `set_wakeup_fd` itself.
    """
    remind(signal.SIGTERM, lambda: _is_set() and not _is_dying)


def leave_sigterm() -> None:
    """Undo the above, unless somebody has set another handler since."""
    global _held  # noqa: PLW0603
    _held = tuple
    if threading.current_thread() is threading.main_thread():
        stop_reminding()
        if _is_set():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _is_set() -> bool:
    return signal.getsignal(signal.SIGTERM) is _flush_and_die


def _flush_and_die(_signal: int, frame: FrameType | None) -> None:
    global _is_dying  # noqa: PLW0603
    if _is_dying:
        return
    _is_dying = True
    try:
        # A child that is not done with being forked has measured nothing, and exporters would wait for locks that its
        # other hooks have yet to release.
        if not _is_being_forked(frame):
            finish(_held(), "shutdown")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


def _place(frame: FrameType) -> tuple[int, int, int]:
    return id(frame), id(frame.f_code), frame.f_lasti


def _is_being_forked(frame: FrameType | None) -> bool:
    """Return whether this is a child in which a hook of `os.register_at_fork` is running."""
    above = None if frame is None or _forking is None else frame.f_back
    while above is not None and _place(above) != _forking:
        above = above.f_back
    return above is not None


def _block_before_fork() -> None:
    # Python forgets in a new child which signals have come. One sent before the child's first instruction would be lost
    # to a handler of Python's, and its parent would wait for it for ever: `Pool.terminate()` sends them so early.
    if _is_set():
        _of_forks.blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _unblock() -> None:
    blocked_before = _of_forks.__dict__.pop("blocked_before", None)
    if blocked_before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)


def _unblock_in_child() -> None:
    global _forking  # noqa: PLW0603
    forks = sys._getframe().f_back
    _forking = None if forks is None else _place(forks)
    blocked_before = _of_forks.__dict__.get("blocked_before", {signal.SIGTERM})
    if signal.SIGTERM in signal.sigpending() and signal.SIGTERM not in blocked_before:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the child has measured nothing that could be exported
    _unblock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_block_before_fork, after_in_parent=_unblock, after_in_child=_unblock_in_child)
