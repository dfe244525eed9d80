"""The span status ERROR for risky runs, where the user asks for it: what backends colour, count and search by."""

from collections.abc import Sequence
from typing import Final, Literal

from opentelemetry.trace import Span, Status, StatusCode

from ..assessment.assessment_line import assessment_line
from ..assessment.worst import worst_of
from ..run import Run

StatusOn = Literal["high", "medium", "off"]

_LEVELS: Final = {"off": (), "high": ("high",), "medium": ("medium", "high")}


def mark_risky(span: Span, runs: Sequence[Run], status_on: StatusOn) -> None:
    """Give a span the status ERROR where the worst of its runs has this risk level or a higher one.

    A call that failed keeps the status of its exception, and whoever has set one keeps theirs.

    Args:
        span: that of a run, or of the call with these sequences.
        runs: its judged runs.
        status_on: the level; `off`: no span is marked.
    """
    levels = _LEVELS[status_on]
    worst = worst_of(runs) if levels and span.is_recording() else None
    if worst is None or worst.risk is None or worst.risk.level not in levels:
        return
    status = getattr(span, "status", None)
    if any(run.error_type is not None for run in runs) or (status is not None and not status.is_unset):
        return
    span.set_status(Status(StatusCode.ERROR, assessment_line(worst)))
