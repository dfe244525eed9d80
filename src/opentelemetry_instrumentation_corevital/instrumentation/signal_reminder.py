"""A signal that comes just before the main thread waits in C is sent to it again, so that it is handled.

Python only takes note of a signal when it comes, and runs its handler with the next bytecode. A main thread that has
begun to wait for a semaphore in between, as a pool's worker does for work, would run it after that wait: perhaps never.
The default action needs no bytecode.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

REMIND_SECONDS: Final = 0.1

_ends: tuple[int, int] | None = (
    None  # of the pipe into which Python writes the number of each signal that it takes note of
)


def remind(number: int, is_due: Callable[[], bool]) -> None:
    """Send a signal that has come to the main thread again for as long as it `is_due`.

    Only the main thread may call this. Does nothing where somebody else is told of signals, such as an event loop.
    """
    global _ends  # noqa: PLW0603
    if _ends is not None:
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    somebody = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if somebody != -1:
        signal.set_wakeup_fd(somebody)
        os.close(reading)
        os.close(writing)
        return
    _ends = (reading, writing)
    threading.Thread(target=_remind, args=(reading, number, is_due), name="CoreVitalSignals", daemon=True).start()


def stop_reminding() -> None:
    """Undo `remind`. Only the main thread may call this."""
    if _ends is not None:
        _leave()  # which ends the thread: it reads the end of the pipe, and closes its own end


def _remind(reading: int, number: int, is_due: Callable[[], bool]) -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    while came := os.read(reading, 64):
        while number in came and is_due():
            time.sleep(REMIND_SECONDS)
            if is_due():
                signal.pthread_kill(main_thread, number)
    os.close(reading)


def _leave() -> int:
    """Close our end of the pipe, and return the other one."""
    global _ends
    assert _ends is not None
    (reading, writing), _ends = _ends, None
    somebody = signal.set_wakeup_fd(-1)
    if somebody not in (-1, writing):
        signal.set_wakeup_fd(somebody)
    os.close(writing)
    return reading


def _leave_in_child() -> None:
    if _ends is not None:  # the parent's, as is the thread
        os.close(_leave())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_in_child)
