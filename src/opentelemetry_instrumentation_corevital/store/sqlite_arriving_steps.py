"""Steps of calls that go on as rows: log events of steps, whose call's span is not there yet.

SQLite has one writer at a time, and `logs.id` only grows: whoever asks for what is behind an id misses no row.
"""

import sqlite3
from typing import Any, Final

from .. import semconv
from .._internal.json_text import MOST_JSON
from .arriving_steps import LiveStep, RunningCall, live_call, live_step

_OF_CALL: Final = "trace_id = ? AND span_id = ?"
_CALL: Final = "trace_id, span_id, (SELECT service_name FROM resources WHERE id = resource_id), max(id), ingested_ns"
ARRIVED: Final = (
    "WHERE (trace_id, span_id) IN (SELECT trace_id, span_id FROM spans INDEXED BY spans_ingested JOIN runs "
    "USING (trace_id, span_id) WHERE ingested_ns >= ? ORDER BY ingested_ns DESC LIMIT ?) ORDER BY start_ns DESC"
)
"""Which runs came since a time, so many of them at most, for a question about the table of runs."""


def going_on(connection: sqlite3.Connection, behind: int, since_ns: int) -> list[RunningCall]:
    """Return the calls of which steps have come behind a key and since a time, and whose span has not."""
    first = connection.execute(
        "SELECT id FROM logs WHERE ingested_ns >= ? ORDER BY ingested_ns LIMIT 1", (since_ns,)
    ).fetchone()
    if first is None:
        return []
    # By the rows' own order, not by an index that has every step ever: what is new is at its end.
    calls = (
        f"SELECT {_CALL} FROM logs NOT INDEXED WHERE id > ? AND event_name = ? AND trace_id IS NOT NULL "
        "GROUP BY trace_id, span_id"
    )
    found = connection.execute(
        f"SELECT * FROM ({calls}) AS calls WHERE NOT EXISTS (SELECT 1 FROM spans "
        "WHERE spans.trace_id = calls.trace_id AND spans.span_id = calls.span_id) ORDER BY 4",
        (max(behind, first[0] - 1), semconv.STEP_EVENT),
    )
    return _calls(found.fetchall())


def beginning_with(connection: sqlite3.Connection, start: str) -> list[RunningCall]:
    """Return the calls with steps whose trace id begins so; if there are none, those whose span id does."""
    values = (start, start + "g", semconv.STEP_EVENT)  # hexadecimal digits end at f
    for name, index in (("trace_id", "logs_span"), ("span_id", "logs_event")):
        found = connection.execute(
            f"SELECT {_CALL} FROM logs INDEXED BY {index} WHERE {name} >= ? AND {name} < ? AND event_name = ? "
            "AND trace_id IS NOT NULL GROUP BY trace_id, span_id ORDER BY 4",
            values,
        )
        if calls := _calls(found.fetchall()):
            return calls
    return []


def steps_of(connection: sqlite3.Connection, call: RunningCall, behind: int, most: int) -> list[LiveStep]:
    """Return the steps of a call behind a key, as they came, so many of them at most."""
    attributes = f"CASE WHEN length(attributes) <= {MOST_JSON} THEN attributes END"
    found = connection.execute(
        f"SELECT id, ingested_ns, {attributes} FROM logs INDEXED BY logs_span WHERE {_OF_CALL} AND id > ? "
        "AND event_name = ? ORDER BY id LIMIT ?",
        (call.trace_id, call.span_id, behind, semconv.STEP_EVENT, most),
    )
    return [step for row in found.fetchall() if (step := live_step(*row)) is not None]


def start_of_span(connection: sqlite3.Connection, call: RunningCall) -> int | None:
    """Return when a call started; None while its span has not come."""
    found = connection.execute(f"SELECT start_ns FROM spans WHERE {_OF_CALL}", (call.trace_id, call.span_id)).fetchone()
    return None if found is None else found[0]


def change_mark(connection: sqlite3.Connection) -> int:
    """Return a number that is another one once another connection has changed the file."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def any_step(connection: sqlite3.Connection) -> bool:
    """Return whether there is any step's log event at all."""
    return (
        connection.execute("SELECT 1 FROM logs WHERE event_name = ? LIMIT 1", (semconv.STEP_EVENT,)).fetchone()
        is not None
    )


def _calls(rows: list[tuple[Any, ...]]) -> list[RunningCall]:
    return [call for row in rows if (call := live_call(*row)) is not None]
