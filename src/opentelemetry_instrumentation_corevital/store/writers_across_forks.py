"""Writers across forks.

A fork copies a process with one thread only. So a fork takes each writer's lock first, which every transaction holds:
no transaction is open and no thread is inside SQLite while the process is copied. The child starts with an empty
queue (what was queued is the parent's to write), new locks and no connection; the parent's connection is kept
referenced there and never used or closed, since closing it would drop the parent's file locks.
"""

import os
import threading
import weakref
from typing import Protocol


class Forked(Protocol):
    """What has to be told of a fork."""

    def hold_for_fork(self) -> None:
        """Wait for the open transaction's end and let no other begin."""

    def release_after_fork(self) -> None:
        """Go on, in the process that forked."""

    def begin_anew(self) -> None:
        """Leave everything to the parent, in the process that the fork made."""


_watched: "weakref.WeakSet[Forked]" = weakref.WeakSet()
_fork_lock = threading.Lock()  # one fork at a time, no new writer meanwhile
_held: list[Forked] = []  # those that wait for the fork under way


def watch(writer: Forked) -> None:
    """Tell a writer of every fork, as long as it lives."""
    with _fork_lock:
        _watched.add(writer)


def before_fork() -> None:
    """Hold all writers."""
    _fork_lock.acquire()
    for writer in list(_watched):
        writer.hold_for_fork()
        _held.append(writer)


def after_fork_in_parent() -> None:
    """Let all writers go on."""
    while _held:
        _held.pop().release_after_fork()
    _fork_lock.release()


def after_fork_in_child() -> None:
    """Let all writers begin anew."""
    global _fork_lock  # noqa: PLW0603
    _fork_lock = threading.Lock()
    while _held:
        _held.pop().begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=before_fork, after_in_parent=after_fork_in_parent, after_in_child=after_fork_in_child)
