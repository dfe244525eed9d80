"""Which call the hooks of a thread's generation loop report to.

Greenlets of a thread share a `threading.local`, so a call is its greenlet's. What hooks inside the model report to is
the thread's, for their speed: see `collector`.
"""

import threading
from typing import Any

from ..._internal.greenlets import Owner, PerGreenlet
from ..collector.collector import thread as hooks
from ..session.call_facts import Call
from ..session.session import Session

_Calls = tuple[Call | None, Session | None]


class _Thread(threading.local):
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
        """Return what measures it."""
        return (self.calls.get() or _NOBODY)[1]


_NOBODY: _Calls = None, None

thread = _Thread()

Listening = tuple[Any, ...]


def listen(call: Call | None, session: Session | None) -> Listening:
    """Make this thread's hooks report to a call, and to its session if it is measured; return what was before.

    `listen(None, None)` hides a run from a generate() that runs inside it, such as an assistant's.
    """
    if session is not None:
        thread.owner = Owner()
    mine = thread.owner is not None and thread.owner.runs  # those of another greenlet's call go on
    before = thread.calls.get(), mine, hooks.collector
    if mine:
        hooks.collector = None
    thread.calls.set((call, session))
    return before


def restore(before: Listening) -> None:
    """Undo `listen`."""
    calls, mine, collector = before
    thread.calls.set(calls)
    if mine:
        hooks.collector = collector
