"""Which call the taps of a thread report to.

A `threading.local`, never a `ContextVar`: reading one of those would break a graph that is being compiled.
"""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Call
    from .session import Session


class _Thread(threading.local):
    call: "Call | None" = None
    session: "Session | None" = None


thread = _Thread()

Listening = tuple["Call | None", "Session | None"]


def listen(call: "Call | None", session: "Session | None") -> Listening:
    """Make this thread's taps report to a call, and to its session if it is measured; return what was before.

    `listen(None, None)` hides a run from a generate() that runs inside it, such as an assistant's.
    """
    before = thread.call, thread.session
    thread.call, thread.session = call, session
    return before


def restore(before: Listening) -> None:
    """Undo `listen`."""
    thread.call, thread.session = before
