"""A lock that processes share by a file. It is free again when its owner ends, however that ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PAUSE: Final = 0.01


class FileIsLockedError(OSError):
    """Somebody else has had the lock all the time."""


@contextmanager
def locked(file: Path, seconds: float) -> Iterator[None]:
    """Have the lock of a file, which is made and stays, while the block runs.

    Args:
        file: nothing is ever written into it.
        seconds: how long to wait for the lock.

    Raises:
        FileIsLockedError: if it was not to be had.
        OSError: if the file cannot be made.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        deadline = time.monotonic() + seconds
        while not _taken(descriptor):
            if time.monotonic() >= deadline:
                raise FileIsLockedError(f"{file}: somebody else has had it for {seconds:g} s")
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            _release(descriptor)  # by itself, since a child that was forked meanwhile has the descriptor, too
    finally:
        os.close(descriptor)


if fcntl is not None:

    def _taken(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

else:
    import msvcrt

    def _taken(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
