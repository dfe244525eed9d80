"""Reading the store. Lists come from the `runs` table alone and never parse JSON."""

import json
import sqlite3
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from .. import generating, semconv
from ..values import fitting
from .database import BUSY_SECONDS, StoreError, explain, open_for_reading, store_path
from .filters import RunFilter
from .labels import read_label
from .stored import COLUMNS, Dropped, RunList, RunSummary, StoredEvent, StoredRun, summary_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray

CLOCK_SKEW_NS: Final = 300 * 10**9
"""How far another machine's clock may be ahead."""
MOST_ROWS: Final = 2**63 - 1
"""The largest number that SQLite takes for a limit."""

_MOST_CHOICES: Final = 8
_COLUMNS: Final = ", ".join(COLUMNS)


class Store:
    """An open store, for reading. Use it in a `with` block."""

    def __init__(self, path: str | Path) -> None:
        self.path = store_path(path)
        self._connection = open_for_reading(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def runs(self, *, limit: int | None = 20, **conditions: Any) -> RunList:
        """Return runs, the newest first.

        Runs that are dated more than five minutes ahead come behind the others: a clock was wrong, and they would be
        the newest until their time comes.

        Args:
            limit: how many at most; None: all.
            conditions: those of `RunFilter`, by name: `model`, `risk_above`, `level`, `flag`, `since_ns`, `until_ns`,
                `prompt_hash`, `label`, `longer_than`, `tokens_above`.

        Raises:
            TypeError: for a condition that there is not.
            StoreError: for an unknown flag or level, or an unreadable file.
        """
        wanted = RunFilter(**conditions)
        soon = time.time_ns() + CLOCK_SKEW_NS
        most = MOST_ROWS if limit is None else min(limit, MOST_ROWS)
        found = self._newest(wanted, "start_ns <= ?", soon, most)
        if len(found) < most:
            found += self._newest(wanted, "start_ns > ?", soon, most - len(found))
        return RunList(found)

    def _newest(self, wanted: RunFilter, dated: str, soon: int, limit: int) -> list[RunSummary]:
        where, values = wanted.where()
        where = f"{where} AND {dated}" if where else f"WHERE {dated}"
        order = "ORDER BY start_ns DESC, sequence_index"
        # First which, from an index alone; then their rows.
        keys = f"SELECT trace_id, span_id FROM runs {wanted.index()} {where} {order} LIMIT ?"
        return self._summaries(f"WHERE (trace_id, span_id) IN ({keys}) {order}", (*values, soon, limit))

    def models(self, **conditions: Any) -> dict[str | None, int]:
        """Return how many runs there are of each model, the most frequent first; None: of a model without a name.

        Arguments and errors are those of `runs`.
        """
        wanted = RunFilter(**conditions)
        where, values = wanted.where()
        sql = f"SELECT model, count(*) FROM runs {wanted.index()} {where} GROUP BY model ORDER BY 2 DESC, model"
        return dict(self._query(sql, values))

    def call(self, run_id: str) -> list[RunSummary]:
        """Return all sequences of the call that a run belongs to; arguments and errors are those of `run`."""
        found = self._named(run_id)
        if len({(run.trace_id, run.start_ns) for run in found}) > 1:
            raise StoreError(f"run {run_id}: {_choices(found)}")
        same = "WHERE trace_id = ? AND start_ns = ? ORDER BY sequence_index"  # a call's sequences start together
        return self._summaries(same, (found[0].trace_id, found[0].start_ns))

    def run(self, run_id: str) -> StoredRun:
        """Return one run.

        Args:
            run_id: `last`, or the first four or more characters of a trace id, or of a span id where the trace holds
                several calls; `ID:INDEX` where a call had several sequences.

        Raises:
            StoreError: if no run or more than one fits; the message lists those that do.
        """
        found = self._named(run_id)
        if len(found) != 1:
            raise StoreError(f"run {run_id}: {_choices(found)}")
        return self.load(found[0])

    def _named(self, run_id: str) -> list[RunSummary]:
        """Return the runs that a name fits, one at least."""
        start, _, index = run_id.lower().partition(":")
        if index and not index.isdecimal():
            raise StoreError(f"run {run_id!r}: after the colon comes the number of the sequence, from 0.")
        found = self._last_call() if start == "last" else self._beginning_with(start)
        if not found:
            raise StoreError(f"{self.path}: holds no run {run_id}.", command="`corevital runs` lists them.")
        fitting = [run for run in found if not index or run.sequence_index == int(index)]
        if not fitting:
            raise StoreError(f"run {run_id}: {_choices(found)}")
        return fitting

    def run_data(self, run: RunSummary | StoredRun) -> bytes | None:
        """Return a run's data, a compressed NumPy `.npz`; None if the store has none.

        Raises:
            StoreError: for an unreadable file.
        """
        summary = run.summary if isinstance(run, StoredRun) else run
        key = (summary.trace_id, summary.span_id)
        found = self._query("SELECT data FROM run_data WHERE trace_id = ? AND span_id = ?", key)
        return found[0][0] if found else None

    def columns(self, run: RunSummary | StoredRun) -> "dict[str, NDArray[Any]] | None":
        """Return a run's data by column (docs/run-data.md), each [steps] or [steps, layers]; None if there are none.

        Raises:
            StoreError: for an unreadable file or damaged data.
        """
        stored = run if isinstance(run, StoredRun) else self.load(run)
        try:
            return stored.columns if stored.data is not None else None
        except ValueError as error:
            raise StoreError(f"{self.path}: the run's data are damaged: {error}.") from None

    def otlp(self, trace_ids: "Sequence[str] | None") -> "Iterator[Message]":
        """Yield OTLP messages with the spans, log records and run data of traces; None: all that the store holds.

        Raises:
            StoreError: for an unreadable file.
        """
        from .otlp_export import OtlpExport

        export = OtlpExport(self._connection)
        try:
            yield from export.everything() if trace_ids is None else export.traces(trace_ids)
        except sqlite3.Error as error:
            raise explain(error, self.path) from None

    def _last_call(self) -> list[RunSummary]:
        """Return the sequences of the newest call."""
        newest = self.runs(limit=1)
        if not newest:
            raise StoreError(f"{self.path}: holds no run yet.")
        key = (newest[0].trace_id, newest[0].start_ns)  # a call's sequences start together
        return self._summaries("WHERE trace_id = ? AND start_ns = ? ORDER BY sequence_index", key)

    def _beginning_with(self, start: str) -> list[RunSummary]:
        if len(start) < 4:
            raise StoreError(f"run {start!r}: give at least four characters of its id, or `last`.")
        bounds = (start, start + "g")  # hexadecimal digits end at f
        order = "ORDER BY start_ns, sequence_index"
        found = self._summaries(f"WHERE trace_id >= ? AND trace_id < ? {order}", bounds)
        return found or self._summaries(f"WHERE span_id >= ? AND span_id < ? {order}", bounds)

    def _summaries(self, rest: str, values: tuple[Any, ...]) -> list[RunSummary]:
        return [summary_of(row) for row in self._query(f"SELECT {_COLUMNS} FROM runs {rest}", values)]

    def load(self, summary: RunSummary) -> StoredRun:
        """Return a run of a list with everything that is stored of it.

        Raises:
            StoreError: for an unreadable file, or a run that was deleted meanwhile.
        """
        key = (summary.trace_id, summary.span_id)
        columns = "attributes, parent_span_id, dropped_attributes, dropped_events"
        found = self._query(f"SELECT {columns} FROM spans WHERE trace_id = ? AND span_id = ?", key)
        if not found:
            raise StoreError(f"{self.path}: holds no run {summary.trace_id} any more.")
        ((attributes, parent, *dropped),) = found
        events = self._query(
            "SELECT name, time_ns, attributes FROM span_events WHERE trace_id = ? AND span_id = ? ORDER BY seq", key
        )
        try:
            label = read_label(self._connection, *key)
        except sqlite3.Error as error:
            raise explain(error, self.path) from None
        return StoredRun(
            summary,
            json.loads(attributes),
            tuple(StoredEvent(name, time_ns, _checked(name, json.loads(text))) for name, time_ns, text in events),
            label,
            self.run_data(summary),
            self._call_attributes(summary.trace_id, parent),
            Dropped(*dropped),
        )

    def _call_attributes(self, trace_id: str, parent: str | None) -> dict[str, Any] | None:
        """Return the attributes of the span above a sequence's, if it is that of a call with several sequences."""
        found = self._query("SELECT attributes FROM spans WHERE trace_id = ? AND span_id = ?", (trace_id, parent or ""))
        attributes: dict[str, Any] | None = json.loads(found[0][0]) if found else None
        return attributes if attributes is not None and semconv.SEQUENCE_COUNT in attributes else None

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path) from None


def open_store(path: str | Path) -> Store:
    """Open a store for reading. What this process has exported to it, and has not written yet, is waited for.

    Raises:
        StoreError: if there is no such file or it is not a store.
    """
    sharing = sys.modules.get(f"{__package__}.sharing")  # not imported: then nothing was exported
    if sharing is not None:
        sharing.flush(path, generating.patience(BUSY_SECONDS))
    return Store(path)


def _checked(event: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return an event's attributes; a step's without values of another type, which are somebody else's."""
    return fitting(attributes) if event == semconv.STEP_EVENT else attributes


def _choices(runs: list[RunSummary]) -> str:
    """Return a sentence that lists runs, each by the shortest name that tells it from the others."""
    if len({run.trace_id for run in runs}) > 1:
        what, names = "several runs begin so", [run.trace_id for run in runs]
    elif len({run.sequence_index for run in runs}) == len(runs):
        what, names = "its call's sequences are", [f"{run.trace_id[:12]}:{run.sequence_index}" for run in runs]
    else:
        what, names = "its trace holds several calls", [run.span_id for run in runs]
    names = list(dict.fromkeys(names))
    more = ", ..." if len(names) > _MOST_CHOICES else ""
    return f"{what}: {', '.join(names[:_MOST_CHOICES])}{more}; name one of them."
