"""Which call the taps of a thread report to.

A `threading.local`, never a `ContextVar`: reading one of those would break a graph that is being compiled.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from .call import Call
    from .plan import Reported as AttentionReport
    from .session import Session


class _Thread(threading.local):
    call: "Call | None" = None
    session: "Session | None" = None
    layers: "Callable[[nn.Module, Any], None] | None" = None
    """Takes what layers return; None where nobody wants it. Taps find it here because they run for every layer."""
    attentions: "Callable[[AttentionReport], None] | None" = None
    """Takes what attention functions get."""


thread = _Thread()

Listening = tuple[Any, ...]


def listen(call: "Call | None", session: "Session | None") -> Listening:
    """Make this thread's taps report to a call, and to its session if it is measured; return what was before.

    `listen(None, None)` hides a run from a generate() that runs inside it, such as an assistant's.
    """
    before = thread.call, thread.session, thread.layers, thread.attentions
    thread.call, thread.session, thread.layers, thread.attentions = call, session, None, None
    return before


def restore(before: Listening) -> None:
    """Undo `listen`."""
    thread.call, thread.session, thread.layers, thread.attentions = before
