"""Reading the store. Lists come from the `runs` table alone and never parse JSON."""

import json
import sqlite3
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from .. import semconv
from .database import StoreError, explain, open_for_reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_CHOICES: Final = 8

FLAGS: Final = tuple(semconv.HEALTH_FLAGS)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One row of `runs`; None where something was not measured or not judged."""

    trace_id: str
    span_id: str
    sequence_index: int
    start_ns: int
    end_ns: int
    service_name: str
    model: str | None
    operation: str | None
    strategy: str | None
    risk_score: float | None
    risk_level: str | None
    nan_detected: bool | None
    inf_detected: bool | None
    repetition_loop_detected: bool | None
    attention_collapse_detected: bool | None
    mid_layer_anomaly_detected: bool | None
    high_entropy_steps: int | None
    failure_risk: float | None
    warnings: tuple[str, ...]
    prompt_hash: str | None
    prompt_hash_source: str | None
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    error_type: str | None
    narrative: str | None

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the flags that are raised."""
        return tuple(flag for flag in FLAGS if getattr(self, flag))


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A span event."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run with everything that its span carries."""

    summary: RunSummary
    attributes: dict[str, Any]
    events: tuple[StoredEvent, ...]


_COLUMNS: Final = ", ".join(field.name for field in fields(RunSummary))


class Store:
    """An open store, for reading. Use it in a `with` block."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection = open_for_reading(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def runs(
        self,
        *,
        limit: int = 20,
        model: str | None = None,
        risk_above: float | None = None,
        flag: str | None = None,
        since_ns: int | None = None,
        prompt_hash: str | None = None,
    ) -> list[RunSummary]:
        """Return runs, the newest first.

        Args:
            limit: how many at most.
            model: only runs of this model.
            risk_above: only runs whose risk is above it.
            flag: only runs with this flag raised, one of `FLAGS`.
            since_ns: only runs that started at this Unix time or later, in nanoseconds.
            prompt_hash: only runs whose prompt hash begins so.

        Raises:
            StoreError: for an unknown flag or an unreadable file.
        """
        conditions: list[str] = []
        values: list[Any] = []

        def only(condition: str, value: Any) -> None:
            if value is not None:
                conditions.append(condition)
                values.append(value)

        if flag is not None and flag not in FLAGS:
            raise StoreError(f"unknown flag {flag!r}; flags are {', '.join(FLAGS)}.")
        only("model = ?", model)
        only("risk_score > ?", risk_above)
        only("start_ns >= ?", since_ns)
        if prompt_hash is not None:
            only("prompt_hash >= ?", prompt_hash)
            only("prompt_hash < ?", prompt_hash + "g")  # hexadecimal digits end at f
        if flag is not None:
            conditions.append(f"{flag} = 1")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return self._summaries(f"{where} ORDER BY start_ns DESC, sequence_index LIMIT ?", (*values, limit))

    def run(self, run_id: str) -> StoredRun:
        """Return one run.

        Args:
            run_id: `last`, or the first four or more characters of a trace id, or of a span id where the trace holds
                several calls; `ID:INDEX` where a call had several sequences.

        Raises:
            StoreError: if no run or more than one fits; the message lists those that do.
        """
        start, _, index = run_id.lower().partition(":")
        if index and not index.isdecimal():
            raise StoreError(f"run {run_id!r}: after the colon comes the number of the sequence, from 0.")
        found = self._last_call() if start == "last" else self._beginning_with(start)
        if not found:
            raise StoreError(f"{self.path}: holds no run {run_id}; `corevital runs` lists them.")
        fitting = [run for run in found if not index or run.sequence_index == int(index)]
        if len(fitting) != 1:
            raise StoreError(f"run {run_id}: {_choices(fitting or found)}")
        return self._stored(fitting[0])

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
        from ..npz import from_npz

        data = self.run_data(run)
        try:
            return None if data is None else from_npz(data)
        except ValueError as error:
            raise StoreError(f"{self.path}: the run's data are damaged: {error}.") from None

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
        return [_summary(row) for row in self._query(f"SELECT {_COLUMNS} FROM runs {rest}", values)]

    def _stored(self, summary: RunSummary) -> StoredRun:
        key = (summary.trace_id, summary.span_id)
        ((attributes,),) = self._query("SELECT attributes FROM spans WHERE trace_id = ? AND span_id = ?", key)
        events = self._query(
            "SELECT name, time_ns, attributes FROM span_events WHERE trace_id = ? AND span_id = ? ORDER BY seq", key
        )
        return StoredRun(
            summary,
            json.loads(attributes),
            tuple(StoredEvent(name, time_ns, json.loads(text)) for name, time_ns, text in events),
        )

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path) from None


def open_store(path: str | Path) -> Store:
    """Open a store for reading.

    Raises:
        StoreError: if there is no such file or it is not a store.
    """
    return Store(path)


def _summary(row: tuple[Any, ...]) -> RunSummary:
    values = dict(zip((field.name for field in fields(RunSummary)), row, strict=True))
    for flag in FLAGS:
        values[flag] = None if values[flag] is None else bool(values[flag])
    values["warnings"] = tuple(json.loads(values["warnings"]))
    return RunSummary(**values)


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
