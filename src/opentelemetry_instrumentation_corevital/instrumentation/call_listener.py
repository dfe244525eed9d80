"""Who gets the runs and spans of every call, whatever provider made the spans.

A span processor would do for spans, but it cannot be added to everybody's provider: that of Phoenix drops its own
exporter when one is. So who wants them is told by the recorder itself.
"""

from collections.abc import Sequence
from typing import Protocol

from opentelemetry.trace import Span

from .._internal.safety import shielded
from ..run import Run


class CallListener(Protocol):
    """What is told of calls that have ended, on the thread that generated: it must not wait."""

    def judged(self, runs: Sequence[Run]) -> None:
        """Take the judged runs of a call, before its span ends."""

    def span_ended(self, span: Span) -> None:
        """Take a span of a call that has ended: that of the call, or of one of its sequences."""


def tell_judged(listeners: Sequence[CallListener], runs: Sequence[Run]) -> None:
    """Hand the judged runs of a call to all who listen."""
    for listener in listeners:
        with shielded("listener.judged"):
            listener.judged(runs)


def tell_ended(listeners: Sequence[CallListener], span: Span) -> None:
    """Hand a span that has ended to all who listen."""
    for listener in listeners:
        with shielded("listener.span_ended"):
            listener.span_ended(span)
