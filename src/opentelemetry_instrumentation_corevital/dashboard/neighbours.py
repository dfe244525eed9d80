"""The runs before and behind a run in a list."""

import time
from itertools import takewhile
from typing import Any, Final

from ..store.filters import RunFilter
from ..store.source import Cursor, RunSource, newest_that_counts
from ..store.stored_run import RunSummary

_MOST: Final = 500
"""Runs from the beginning of a list among which the one before is looked for."""


def runs_beside(source: RunSource, run: RunSummary, wanted: RunFilter) -> tuple[RunSummary | None, RunSummary | None]:
    """Return the runs before and behind a run in a list, which need not have the run itself; None: there is none.

    Args:
        source: of the run.
        run: the run.
        wanted: which runs the list has.
    """
    now = newest_that_counts(time.time_ns())
    behind = source.page(wanted, limit=1, after=Cursor.behind(run, now)).runs
    first = source.page(wanted, limit=_MOST).runs
    before = list(takewhile(lambda each: _place(each, now) < _place(run, now), first))
    reached = before and (len(before) < len(first) or len(first) < _MOST)
    return before[-1] if reached else None, behind[0] if behind else None


def _place(run: RunSummary, now: int) -> Any:
    """Return what lists are ordered by, as `Cursor` says it."""
    return run.start_ns > now, -run.start_ns, run.trace_id, run.sequence_index, run.span_id
