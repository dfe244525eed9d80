"""Lists of runs, whatever they are kept in: the part of `RunSource` that pages, filters and orders."""

import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Protocol

from .cursors import Cursor, Neighbours, RunOrder, RunPage, newest_that_counts
from .facets import RunCounts, counted, without_facets
from .filters import ANY_RUN, RunFilter
from .stored_run import RunList, RunSummary

PAGE_RUNS: Final = 1000
"""How many runs are asked for at a time where all are wanted."""


class ListedRuns(Protocol):
    """What runs are listed from. `RunSource` is more than that."""

    @abstractmethod
    def page(
        self,
        wanted: RunFilter = ANY_RUN,
        *,
        order: RunOrder = RunOrder.NEWEST,
        limit: int = 20,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> RunPage:
        """Return some runs of a list, as `Cursor` says that it is ordered.

        From page to page every run is listed once that was there at the first page and is not deleted meanwhile. Where
        the newest come first, runs that start after the first page are not listed, unless they are dated ahead.

        Args:
            wanted: which runs the list has.
            order: what comes first.
            limit: how many at most, from 1; more where the last ones have damaged keys, behind which no list goes on.
            after: where the list goes on: `RunPage.next` of the page before; None: from its beginning.
            before: only runs before this place, and the last of those: `RunPage.previous` of the page behind.

        Raises:
            StoreError: for a place of a list in another order, too.
        """

    @abstractmethod
    def beginning_with(self, start: str) -> list[RunSummary]:
        """Return the runs whose trace id begins so; if there are none, those whose span id does. The oldest first."""

    def runs(
        self,
        wanted: RunFilter = ANY_RUN,
        *,
        order: RunOrder = RunOrder.NEWEST,
        limit: int | None = 20,
        **conditions: Any,
    ) -> RunList:
        """Return runs, the newest first or in another order.

        Args:
            wanted: which runs.
            order: what comes first.
            limit: how many at most; None: all.
            conditions: those of `RunFilter`, by name, in addition: `model`, `risk_above`, `level`, `flag`, `since_ns`,
                `until_ns`, `prompt_hash`, `label`, `longer_than`, `tokens_above`, `stop_reason`, `intervened`,
                `baseline_source`, `service`, `experiment`, `request_hash`, `risk_below`, `warning`, `text`,
                `outcome_known`.

        Raises:
            TypeError: for a condition that there is not.
            StoreError: for an unknown flag, level or stop reason, too.
        """
        found = RunList()
        for some in self.in_pages(replace(wanted, **conditions), order=order, limit=limit):
            found += some
        return RunList(found[:limit])

    def in_pages(
        self, wanted: RunFilter = ANY_RUN, *, order: RunOrder = RunOrder.NEWEST, limit: int | None = None
    ) -> Iterator[RunList]:
        """Yield the runs of a list some at a time, so that memory does not grow with their number.

        Arguments and errors are those of `runs`.
        """
        count, after = 0, None
        while limit is None or count < limit:
            size = PAGE_RUNS if limit is None else min(limit - count, PAGE_RUNS)
            some, after, _ = self.page(wanted, order=order, limit=size, after=after)
            count += len(some)
            yield some
            if after is None:
                return

    def riskiest(self, wanted: RunFilter = ANY_RUN, *, limit: int = 20) -> RunList:
        """Return the runs of the highest risk, the highest first and of equals the newest; those not judged last."""
        return self.runs(wanted, order=RunOrder.RISK, limit=limit)

    def neighbours(
        self, run: RunSummary, wanted: RunFilter = ANY_RUN, *, order: RunOrder = RunOrder.NEWEST
    ) -> Neighbours:
        """Return the runs before and behind a run in a list, which need not have the run itself."""
        place = Cursor.behind(run, newest_that_counts(time.time_ns()), order)
        before = self.page(wanted, order=order, limit=1, before=place).runs
        behind = self.page(wanted, order=order, limit=1, after=place).runs
        return Neighbours(before[-1] if before else None, behind[0] if behind else None)

    def counts(self, wanted: RunFilter = ANY_RUN) -> RunCounts:
        """Return how many runs meet conditions, and how many would with another model, level, label and so on."""
        rest = without_facets(wanted)
        return counted((run for some in self.in_pages(rest) for run in some), wanted)

    def summary(self, trace_id: str, span_id: str) -> RunSummary | None:
        """Return the run with exactly these ids; None: there is none."""
        found = self.beginning_with(trace_id)
        return next((run for run in found if (run.trace_id, run.span_id) == (trace_id, span_id)), None)
