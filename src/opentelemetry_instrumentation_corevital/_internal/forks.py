"""Locks of modules, across forks."""

import os
from typing import Any, Protocol, TypeVar


class _Lock(Protocol):
    """A `threading.Lock` or `threading.RLock`."""

    def acquire(self) -> Any: ...

    def release(self) -> None: ...


L = TypeVar("L", bound=_Lock)


def held_by_forks(lock: L) -> L:
    """Let every fork hold a lock, so that a child finds it free and what it guards whole; return the lock.

    For the locks of modules only: there is no way back.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows
        # The child's only thread is the one that forked and holds the lock: it may release it.
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
