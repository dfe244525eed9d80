"""Which call the taps of a thread report to.

A `threading.local`, never a `ContextVar`: reading one of those would break a graph that is being compiled. Greenlets of
a thread share it, so a call is its greenlet's. What the hooks of a model's layers call is the thread's, for its speed;
where several greenlets are possible it looks who calls (`mine`).
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..greenlets import Owner, PerGreenlet, loaded
from .modes import unseen, watched

if TYPE_CHECKING:
    from torch import nn

    from .call import Call
    from .plan import Reported as AttentionReport
    from .session import Session

_Calls = tuple["Call | None", "Session | None"]


class _Thread(threading.local):
    layers: "Callable[[nn.Module, Any], None] | None" = None
    """Takes what layers return; None where nobody wants it. Taps find it here because they run for every layer."""
    attentions: "Callable[[AttentionReport], None] | None" = None
    """Takes what attention functions get."""
    owner: Owner | None = None
    """The greenlet whose call is measured, if one is."""

    def __init__(self) -> None:
        self.calls: PerGreenlet[_Calls] = PerGreenlet()

    @property
    def call(self) -> "Call | None":
        """Return the call that is under way here."""
        return (self.calls.get() or _NOBODY)[0]

    @property
    def session(self) -> "Session | None":
        """Return what measures it."""
        return (self.calls.get() or _NOBODY)[1]


_NOBODY: _Calls = None, None

thread = _Thread()

Listening = tuple[Any, ...]


def listen(call: "Call | None", session: "Session | None") -> Listening:
    """Make this thread's taps report to a call, and to its session if it is measured; return what was before.

    `listen(None, None)` hides a run from a generate() that runs inside it, such as an assistant's.
    """
    if session is not None:
        thread.owner = Owner()
    taps = None
    if thread.owner is not None and thread.owner.runs:  # those of another greenlet's call stay
        taps = thread.layers, thread.attentions
        thread.layers = thread.attentions = None
    before = thread.calls.get(), taps
    thread.calls.set((call, session))
    return before


def restore(before: Listening) -> None:
    """Undo `listen`."""
    calls, taps = before
    thread.calls.set(calls)
    if taps is not None:
        thread.layers, thread.attentions = taps


def mine(take: Callable[..., None]) -> Callable[..., None]:
    """Return what takes reports of this greenlet only, and keeps our operations from modes, where there may be some."""
    if not loaded() and not watched():
        return take
    owner = Owner()

    def take_mine(*report: Any) -> None:
        if owner.runs:
            with unseen():
                take(*report)

    return take_mine
