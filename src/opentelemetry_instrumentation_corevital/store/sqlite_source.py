"""Runs in a file of SQLite. Lists come from the `runs` table alone and never parse JSON."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .. import semconv
from .._internal.json_text import MOST_JSON
from .._internal.printable import one_line
from . import sqlite_arriving_steps as live
from .arriving_steps import LiveStep, RunningCall
from .bulk_labels import LabelCounts, NewLabel
from .checked_attributes import Findings, checked_attributes, checked_name, is_id, read_attributes
from .cursors import Cursor, RunOrder, RunPage, newest_that_counts
from .database import explain, open_for_reading, store_path
from .facets import RunCounts
from .filters import ANY_RUN, RunFilter
from .labels import check_outcome
from .run_reader import MOST_DATA, MOST_EVENTS, stored_run
from .runs_to_review import NEEDS_REVIEW
from .similar_runs import SIMILAR_RUNS, SimilarRun, comparable, in_order
from .source import ModelOverview, RunSource
from .sqlite_facets import counted
from .sqlite_filters import filters_index, where
from .sqlite_labels import compared_with_stored, label_runs, read_label, set_label
from .sqlite_lists import part_of, parts
from .sqlite_similar import nearest_keys
from .sqlite_vectors import vector_of
from .store_error import StoreError
from .stored_fingerprints import fingerprint_in
from .stored_run import COLUMNS, RunList, RunSummary, StoredRun, summary_of
from .time_limit import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message

    from ..run import Fingerprint
    from .figures_over_time import FiguresOverTime

_Read = TypeVar("_Read")

_MOST_ROWS: Final = 2**63 - 2
"""One less than the largest number that SQLite takes for a limit."""
_COLUMNS: Final = ", ".join(COLUMNS)
_ATTRIBUTES: Final = f"CASE WHEN length(attributes) <= {MOST_JSON} THEN attributes END"
"""Attributes of no more than what is read: nobody's row takes all memory."""
_OF_SPAN: Final = "WHERE trace_id = ? AND span_id = ?"


class Store(RunSource):
    """An open store, for reading. Use it in a `with` block."""

    def __init__(self, path: str | Path) -> None:
        self.path = store_path(path)
        self._connection = open_for_reading(self.path)
        self._limit: TimeLimit | None = None

    @property
    def name(self) -> str:
        """Return the file."""
        return str(self.path)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def limit_queries(self, seconds: float) -> None:
        """Let every query from now on end with an error when it takes longer."""
        self._limit = TimeLimit(self._connection, seconds)

    def page(
        self,
        wanted: RunFilter = ANY_RUN,
        *,
        order: RunOrder = RunOrder.NEWEST,
        limit: int = 20,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> RunPage:
        """Return some runs of a list. Those at its ends have a place: beside damaged keys the page is longer."""
        if limit < 1:
            raise ValueError(f"limit {limit}: a page has one run at least")
        place, backwards = (after, False) if before is None else (before, True)
        ahead_ns = newest_that_counts(time.time_ns()) if place is None else place.of(order).ahead_ns
        most, ends = min(limit, _MOST_ROWS), None
        while ends is None:
            found = self._beside(wanted, order, ahead_ns, place, most + 1, backwards=backwards)  # one more: are there?
            ends = next((count for count in range(limit, len(found)) if _is_place(found[count - 1])), None)
            if len(found) <= most:
                break
            most *= 2
        runs = found[:ends][:: -1 if backwards else 1]
        more_before, more_behind = (ends is not None, True) if backwards else (place is not None, ends is not None)
        return RunPage(
            RunList(runs),
            Cursor.behind(runs[-1], ahead_ns, order) if more_behind and runs and _is_place(runs[-1]) else None,
            Cursor.behind(runs[0], ahead_ns, order) if more_before and runs and _is_place(runs[0]) else None,
        )

    def _beside(
        self, wanted: RunFilter, order: RunOrder, ahead_ns: int, place: Cursor | None, most: int, *, backwards: bool
    ) -> list[RunSummary]:
        """Return the runs of a list behind a place, or before it with the nearest first, so many of them at most."""
        every, number = parts(order, ahead_ns), None if place is None else part_of(place)
        found: list[RunSummary] = []
        for count, part in list(enumerate(every))[:: -1 if backwards else 1]:
            passed = number is not None and (count > number if backwards else count < number)
            if passed or len(found) >= most:
                continue
            within = place if count == number else None
            keys, by, values = part.statement(wanted, within, backwards=backwards)
            # First which, from an index alone; then their rows.
            rest = f"WHERE (trace_id, span_id) IN ({keys} {by} LIMIT ?) {by}"
            found += self._summaries(rest, (*values, most - len(found)))
        return found

    def overview(self, wanted: RunFilter = ANY_RUN) -> list[ModelOverview]:
        """Return what there is of each model: the most frequent first, then by name."""
        found = self._by_model("count(*), total(risk_level = 'high'), max(start_ns)", wanted)
        models: dict[str | None, ModelOverview] = {}
        for name, runs, high, start_ns in found:
            other = models.get(name, ModelOverview(name, 0, 0, 0))
            newest = max(other.newest_ns, start_ns if isinstance(start_ns, int) else 0)
            models[name] = ModelOverview(name, other.runs + runs, other.high_risk + int(high), newest)
        return list(models.values())

    def models(self, wanted: RunFilter = ANY_RUN, **conditions: Any) -> dict[str | None, int]:
        """Return how many runs there are of each model, the most frequent first; None: of a model without a name.

        Arguments and errors are those of `runs`.
        """
        counts: dict[str | None, int] = {}
        for name, count in self._by_model("count(*)", replace(wanted, **conditions)):
            counts[name] = counts.get(name, 0) + count
        return counts

    def _by_model(self, figures: str, wanted: RunFilter) -> list[tuple[Any, ...]]:
        """Return rows by model, what is no name as None: there may be several of those."""
        condition, values = where(wanted)
        found = self._query(
            f"SELECT model, {figures} FROM runs {filters_index(wanted)} {condition} GROUP BY model "
            "ORDER BY 2 DESC, model",
            values,
        )
        return [(checked_name(model), *rest) for model, *rest in found]

    def counts(self, wanted: RunFilter = ANY_RUN) -> RunCounts:
        """Return how many runs meet conditions, and how many would with another model, level, label and so on."""
        return self._read(counted, wanted)

    def summary(self, trace_id: str, span_id: str) -> RunSummary | None:
        """Return the run with exactly these ids; None: there is none."""
        found = self._summaries(_OF_SPAN, (trace_id, span_id))
        return found[0] if found else None

    def similar(
        self, run: RunSummary | StoredRun, k: int = SIMILAR_RUNS, wanted: RunFilter = ANY_RUN
    ) -> list[SimilarRun]:
        """Return the runs that behaved most like a run, the nearest first, by `Fingerprint.distance`.

        Raises:
            StoreError: if the run has no fingerprint, or was deleted meanwhile, too.
        """
        summary = run.summary if isinstance(run, StoredRun) else run
        (fingerprint,) = self.fingerprints([summary])
        own = comparable(fingerprint, summary, self.name)
        near = self._read(nearest_keys, own, (summary.trace_id, summary.span_id), k, wanted)
        found = ((self.summary(*key), distance) for key, distance in near)
        return in_order((SimilarRun(each, distance) for each, distance in found if each is not None), k)

    def figures_over_time(self, wanted: RunFilter = ANY_RUN, *, now_ns: int) -> "FiguresOverTime":
        """Return what runs show over time; where the filter has no end, it is now, and later runs are left out."""
        from .sqlite_figures import read_figures

        return self._read(read_figures, wanted, now_ns)

    def to_review(self, wanted: RunFilter = ANY_RUN, *, limit: int = 10) -> RunList:
        """Return the newest runs that need a review (`runs_to_review.py`)."""
        found: list[RunSummary] = []
        for part in parts(RunOrder.NEWEST, newest_that_counts(time.time_ns())):
            keys, by, values = replace(part, condition=NEEDS_REVIEW).statement(wanted, None, backwards=False)
            rest = f"WHERE (trace_id, span_id) IN ({keys} {by} LIMIT ?) {by}"
            found += self._summaries(rest, (*values, limit - len(found)))
        return RunList(found)

    def beginning_with(self, start: str) -> list[RunSummary]:
        """Return the runs whose trace id begins so; if there are none, those whose span id does. The oldest first."""
        bounds = (start, start + "g")  # hexadecimal digits end at f
        order = "ORDER BY start_ns, sequence_index"
        found = self._summaries(f"WHERE trace_id >= ? AND trace_id < ? {order}", bounds)
        return found or self._summaries(f"WHERE span_id >= ? AND span_id < ? {order}", bounds)

    def sequences(self, trace_id: str, start_ns: int) -> list[RunSummary]:
        """Return the sequences of a call, which start together, by their index."""
        return self._summaries("WHERE trace_id = ? AND start_ns = ? ORDER BY sequence_index", (trace_id, start_ns))

    def load(self, summary: RunSummary) -> StoredRun:
        """Return a run of a list with everything that is stored of it.

        Raises:
            StoreError: for an unreadable file, or a run that was deleted meanwhile.
        """
        key = (summary.trace_id, summary.span_id)
        columns = f"{_ATTRIBUTES}, parent_span_id, dropped_attributes, dropped_events"
        found = self._query(f"SELECT {columns} FROM spans {_OF_SPAN}", key)
        if not found:
            raise StoreError(f"{self.path}: holds no run {one_line(summary.trace_id)} any more.")
        ((attributes, parent, *dropped),) = found
        above = self._query(f"SELECT {_ATTRIBUTES} FROM spans {_OF_SPAN}", (summary.trace_id, parent or ""))
        data, size = self._data(summary)
        events = f"SELECT name, time_ns, {_ATTRIBUTES} FROM span_events {_OF_SPAN} ORDER BY seq LIMIT {MOST_EVENTS + 1}"
        try:
            return stored_run(
                summary,
                attributes,
                self._connection.execute(events, key),
                label=read_label(self._connection, *key),
                data=data,
                data_bytes=size,
                call=above[0][0] if above else None,
                dropped=dropped,
            )
        except sqlite3.Error as error:
            raise explain(error, self.path) from None

    def run_data(self, run: RunSummary | StoredRun) -> bytes | None:
        """Return a run's data, a compressed NumPy `.npz`; None if the store has none.

        Raises:
            StoreError: for an unreadable file.
        """
        data, _ = self._data(run.summary if isinstance(run, StoredRun) else run)
        return data if isinstance(data, bytes) else None

    def _data(self, run: RunSummary) -> tuple[Any, int | None]:
        """Return a run's data, None where they are more than is read, and how many bytes they have."""
        data = f"CASE WHEN length(data) <= {MOST_DATA} THEN data END"
        found = self._query(f"SELECT {data}, length(data) FROM run_data {_OF_SPAN}", (run.trace_id, run.span_id))
        return found[0] if found else (None, None)

    def set_label(self, run: RunSummary, outcome: str | None, note: str | None = None) -> None:
        """Label a run, in place of an earlier label.

        Raises:
            StoreError: if the outcome is no word, the run is not there, or the file cannot be written.
        """
        set_label(self.path, run.trace_id, run.span_id, outcome, note)

    def label_runs(self, labels: "Sequence[NewLabel]", *, dry_run: bool = False) -> LabelCounts:
        """Label runs in one transaction, in place of earlier labels; return how many are new, changed and the same.

        Raises:
            StoreError: if an outcome is no word, a run is not there, or the file cannot be written.
        """
        if not dry_run:
            return label_runs(self.path, labels)
        for each in labels:
            check_outcome(each.outcome)
        return self._read(compared_with_stored, self.path, labels)[0]

    def fingerprints(self, runs: "Sequence[RunSummary]") -> "Iterator[Fingerprint]":
        """Yield the fingerprint of each run of a list.

        Raises:
            StoreError: for an unreadable file, or a run that was deleted meanwhile.
        """
        for run in runs:
            found = self._query(f"SELECT {_ATTRIBUTES} FROM spans {_OF_SPAN}", (run.trace_id, run.span_id))
            if not found:
                raise StoreError(f"{self.path}: holds no run {one_line(run.trace_id)} any more.")
            findings = Findings()
            yield fingerprint_in(checked_attributes(read_attributes(found[0][0], findings), findings))

    def vectors(self, runs: "Sequence[RunSummary]") -> "Iterator[tuple[str, Sequence[float]] | None]":
        """Yield version and vector of the fingerprint of each run of a list, without reading spans."""
        for run in runs:
            yield self._read(vector_of, run.trace_id, run.span_id)

    def otlp(self, trace_ids: "Sequence[str] | None", left_out: list[str] | None = None) -> "Iterator[Message]":
        """Yield OTLP messages with the spans, log records and run data of traces; None: all that the store holds.

        Raises:
            StoreError: for an unreadable file.
        """
        from .otlp_export import OtlpExport

        export = OtlpExport(self._connection)
        try:
            yield from export.everything() if trace_ids is None else export.traces(trace_ids)
            if left_out is not None:
                left_out += export.left_out
        except sqlite3.Error as error:
            raise explain(error, self.path) from None

    def live_calls(self, behind: int = 0, since_ns: int = 0) -> list[RunningCall]:
        """Return the calls of which steps have come, and whose span has not; the one with the newest step last."""
        return self._read(live.going_on, behind, since_ns)

    def live_calls_named(self, start: str) -> list[RunningCall]:
        """Return the calls with steps, going on or over, whose trace id begins so; else those whose span id does."""
        return self._read(live.beginning_with, start)

    def live_steps(self, call: RunningCall, behind: int = 0, *, limit: int = 2000) -> list[LiveStep]:
        """Return the steps of a call that came behind a key, in the order in which they came."""
        return self._read(live.steps_of, call, behind, limit)

    def runs_of(self, call: RunningCall) -> list[RunSummary] | None:
        """Return the judged runs of a call, one per sequence, once its span has come; None: it has not."""
        start_ns = self._read(live.start_of_span, call)
        if start_ns is None:
            return None
        started = self.sequences(call.trace_id, start_ns)
        # Another call of the trace may have started at the same time: one of one sequence has the call's own span.
        return [run for run in started if run.span_id == call.span_id] or started

    def has_live_steps(self) -> bool:
        """Return whether a step has ever come before its run was over."""
        return self._read(live.any_step)

    def change_mark(self) -> int:
        """Return a number that changes with each transaction of another connection: SQLite reads it, and no page."""
        return self._read(live.change_mark)

    def arrived(self, since_ns: int, *, limit: int = 50) -> RunList:
        """Return the runs whose spans were stored since a Unix time, the newest first."""
        return RunList(self._summaries(live.ARRIVED, (since_ns, min(limit, _MOST_ROWS))))

    def _summaries(self, rest: str, values: tuple[Any, ...]) -> list[RunSummary]:
        return [summary_of(row) for row in self._query(f"SELECT {_COLUMNS} FROM runs {rest}", values)]

    def _read(self, read: Callable[..., _Read], *values: Any) -> _Read:
        try:
            if self._limit is not None:
                self._limit.begin()
            return read(self._connection, *values)
        except sqlite3.Error as error:
            raise explain(error, self.path) from None

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._read(lambda connection: connection.execute(sql, values).fetchall())


def _is_place(run: RunSummary) -> bool:
    """Whether a run's row has the keys that a list goes on from, as they were written: the file may be damaged."""
    sound = is_id(run.trace_id, 32) and is_id(run.span_id, 16) and semconv.SEQUENCE_INDEX not in run.damage
    return sound and run.start_ns < _MOST_ROWS
