"""Which call the hooks of a thread's generation loop report to.

Greenlets of a thread share a `threading.local`, so a call is its greenlet's. What hooks inside the model report to is
the thread's, for their speed: see `collector`.
"""

import threading
from typing import Any

from ..._internal.greenlets import Owner, PerGreenlet
from ..collector.collector import thread as hook_thread
from ..session.call_facts import Call
from ..session.session import Session

_Calls = tuple[Call | None, Session | None]


class _CallThread(threading.local):
    owner: Owner | None = None
    """The greenlet whose call is measured, if one is."""

    def __init__(self) -> None:
        self.calls: PerGreenlet[_Calls] = PerGreenlet()

    @property
    def call(self) -> Call | None:
        """Return the call that is under way here."""
        return (self.calls.get() or _NOBODY)[0]

    @property
    def session(self) -> Session | None:
        """Return the session that measures it."""
        return (self.calls.get() or _NOBODY)[1]


_NOBODY: _Calls = None, None

thread = _CallThread()

ThreadState = tuple[Any, ...]
"""What one thread's hooks reported to."""


def report_to(call: Call | None, session: Session | None) -> ThreadState:
    """Make this thread's hooks report to a call, and to its session if it is measured; return what was before.

    `report_to(None, None)` hides a run from a generate() that runs inside it, such as an assistant's.
    """
    if session is not None:
        thread.owner = Owner()
    mine = thread.owner is not None and thread.owner.runs  # those of another greenlet's call go on
    before = thread.calls.get(), mine, hook_thread.collector
    if mine:
        hook_thread.collector = None
    thread.calls.set((call, session))
    return before


def restore(before: ThreadState) -> None:
    """Undo `report_to`."""
    calls, mine, collector = before
    thread.calls.set(calls)
    if mine:
        hook_thread.collector = collector
