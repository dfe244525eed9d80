"""Looking after a store's file: its health, its size, what is removed from it."""

import json
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import semconv
from .._internal.json_text import json_object
from .checked_attributes import checked_name
from .database import LockedError, explain, log_of, open_for_reading
from .editing import editing, opened
from .migrations import differences, make_what_is_missing
from .retention import DAY_NS, LABELLED, Removed, Retention, prune, remove_orphans, used_bytes
from .store_error import StoreError

TABLES: Final = (
    "runs",
    "spans",
    "span_events",
    "span_links",
    "logs",
    "metrics",
    "metric_points",
    "run_data",
    "run_data_chunks",
    "fingerprints",
    "labels",
    "resources",
    "scopes",
)
_MOST_PROBLEMS: Final = 20
# What is no integer, or no number of tokens, counts nowhere.
_START: Final = "CASE WHEN typeof(start_ns) = 'integer' THEN start_ns END"
_TOTALS: Final = (
    f"SELECT min({_START}), max({_START}), total(CASE WHEN output_tokens BETWEEN 0 AND {2**40} THEN output_tokens END) "
    "FROM runs"
)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store holds, and in how many bytes."""

    file_bytes: int
    """The file and its write-ahead log."""
    used_bytes: int
    rows: dict[str, int]
    first_ns: int | None
    """Unix time at which the oldest run started."""
    last_ns: int | None
    steps: int
    """Generated tokens of all runs."""
    models: dict[str, int]
    """Runs of each model."""
    data_bytes: int
    """Of all run data."""


class DeletedError(StoreError):
    """A run is deleted, but its bytes are not overwritten yet."""


def check(path: str | Path) -> list[str]:
    """Return what is wrong with a store's file; nothing: all is well.

    Raises:
        StoreError: if it cannot be read at all.
    """
    connection = open_for_reading(path)
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
        problems = [] if found == ["ok"] else found
        if odd := differences(connection):  # what is asked next may need what is missing
            return [*problems, *(f"{each}; `corevital db upgrade` makes what is missing" for each in odd)]
        lost = connection.execute("PRAGMA foreign_key_check").fetchall()
        problems += [
            f"a row of {table} belongs to nothing in {parent}" for table, _, parent, _ in lost[:_MOST_PROBLEMS]
        ]
        stray = connection.execute(
            "SELECT count(*) FROM runs WHERE label IS NOT (SELECT outcome FROM labels WHERE "
            "labels.trace_id = runs.trace_id AND labels.span_id = runs.span_id)"
        ).fetchone()[0]
        if stray:
            problems.append(f"{stray} runs show another label than they were given")
    except sqlite3.Error as error:
        raise explain(error, path) from None
    finally:
        connection.close()
    return problems


def stats(path: str | Path) -> Stats:
    """Return what a store holds.

    Raises:
        StoreError: if it cannot be read.
    """
    connection = open_for_reading(path)
    try:
        rows = {table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in TABLES}
        first, last, steps = connection.execute(_TOTALS).fetchone()
        models = connection.execute("SELECT model, count(*) FROM runs GROUP BY model ORDER BY 2 DESC").fetchall()
        data = connection.execute("SELECT total(length(data)) FROM run_data").fetchone()[0]
        used = used_bytes(connection)
    except sqlite3.Error as error:
        raise explain(error, path) from None
    finally:
        connection.close()
    names: dict[str, int] = {}
    for model, count in models:  # what is no name is of no model
        name = checked_name(model) or "unknown"
        names[name] = names.get(name, 0) + count
    first, last = (at if isinstance(at, int) else None for at in (first, last))
    return Stats(file_bytes(path), used, rows, first, last, int(steps), names, int(data))


def run_ids(path: str | Path) -> set[tuple[str, str]]:
    """Return the trace and span ids of all runs, for whoever adds some; an older file is brought up to date first.

    Raises:
        StoreError: if the file cannot be written.
    """
    with opened(path) as connection:
        return {(str(trace), str(span)) for trace, span in connection.execute("SELECT trace_id, span_id FROM runs")}


def file_bytes(path: str | Path) -> int:
    """Return the size of a store's file with its write-ahead log."""
    return sum(os.path.getsize(each) for each in (f"{path}", log_of(Path(path))) if os.path.exists(each))


def prune_store(path: str | Path, retention: Retention, *, dry_run: bool = False) -> Removed:
    """Remove what is too old or too much; labelled runs stay.

    Args:
        path: the store's file.
        retention: what is kept.
        dry_run: only say what would be removed.

    Raises:
        StoreError: if the file cannot be written.
    """
    total = Removed()
    with opened(path) as connection:
        if dry_run:
            connection.execute("BEGIN IMMEDIATE")
            while removed := prune(connection, retention):
                total += removed
            connection.execute("ROLLBACK")
            return total
        while True:
            connection.execute("BEGIN IMMEDIATE")
            removed = prune(connection, retention)
            if not removed:
                remove_orphans(connection)
            connection.execute("COMMIT")
            if not removed:
                return total
            total += removed


def empties(path: str | Path, retention: Retention) -> int:
    """Return how many runs pruning would remove if it left none but labelled ones; 0 where another would stay.

    Raises:
        StoreError: if the file cannot be written.
    """
    loose = f"NOT {LABELLED.format(table='spans')}"
    with opened(path) as connection:
        runs = "SELECT count(*) FROM runs JOIN spans USING (trace_id, span_id) WHERE"
        count = int(connection.execute(f"{runs} {loose}").fetchone()[0])
        if not count:
            return 0
        if retention.bytes is not None:
            return count if prune_store(path, retention, dry_run=True).spans == _spans(connection, loose) else 0
        if retention.days is None:
            return 0
        now = time.time_ns()
        before = now - int(min(retention.days * DAY_NS, now))
        stays = connection.execute(f"{runs} {loose} AND ifnull(ingested_ns, ?) >= ?", (before, before)).fetchone()[0]
        return 0 if stays else count


def _spans(connection: sqlite3.Connection, condition: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM spans WHERE {condition}").fetchone()[0])


def vacuum(path: str | Path) -> tuple[int, int]:
    """Give back what the file does not need; return its bytes before and after.

    Raises:
        StoreError: if the file cannot be written, or is in use.
    """
    before = file_bytes(path)
    with opened(path) as connection:
        connection.execute("VACUUM")
        if not _empty_log(connection):
            raise LockedError(f"{path}: another program still reads the file as it was; it gets smaller after that.")
    return before, file_bytes(path)


def upgrade(path: str | Path) -> None:
    """Bring a file of an older version up to date.

    Raises:
        StoreError: if it cannot be.
    """
    with opened(path) as connection:
        make_what_is_missing(connection)


def delete_call(path: str | Path, trace_id: str, span_ids: list[str]) -> Removed:
    """Remove every trace of a call: its spans and those below them, run data, logs, labels and exemplars.

    If the trace holds no other run, all of the trace goes. What is removed is overwritten in the file.

    Args:
        path: the store's file.
        trace_id: of the call.
        span_ids: of its sequences.

    Raises:
        StoreError: if the file cannot be written.
        DeletedError: if it is done, but the bytes are in the file still, for somebody's reading or for want of space.
    """
    with editing(path) as connection:
        removed = _delete(connection, trace_id, span_ids)
        remove_orphans(connection)
    try:
        with opened(path) as connection:
            overwritten = _empty_log(connection)
    except StoreError as error:  # it is done all the same: a second try would take another run
        why = str(error).removeprefix(f"{path}: ")
        raise DeletedError(
            f"{path}: the run is deleted, but its bytes are not overwritten yet: {why} Then `corevital db vacuum` "
            "overwrites them."
        ) from None
    if not overwritten:  # until then the file holds what was there, or the log does
        raise DeletedError(
            f"{path}: the run is deleted, but another program still reads the file as it was, so its bytes are not "
            "overwritten yet; close that program, then `corevital db vacuum` does it."
        )
    return removed


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file; return False where somebody's reading prevents it."""
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def _delete(connection: sqlite3.Connection, trace_id: str, span_ids: list[str]) -> Removed:
    others = connection.execute(
        f"SELECT count(*) FROM runs WHERE trace_id = ? AND span_id NOT IN ({', '.join('?' * len(span_ids))})",
        (trace_id, *span_ids),
    ).fetchone()[0]
    spans = _descendants(connection, trace_id, span_ids) if others else _all_spans(connection, trace_id, span_ids)
    keys = [(trace_id, span_id) for span_id in spans]
    logs = connection.executemany("DELETE FROM logs WHERE trace_id = ? AND span_id = ?", keys).rowcount
    if not others:
        logs += connection.execute("DELETE FROM logs WHERE trace_id = ?", (trace_id,)).rowcount
    data = connection.executemany("DELETE FROM run_data WHERE trace_id = ? AND span_id = ?", keys).rowcount
    for table in ("run_data_chunks", "labels"):
        connection.executemany(f"DELETE FROM {table} WHERE trace_id = ? AND span_id = ?", keys)
    gone = connection.executemany("DELETE FROM spans WHERE trace_id = ? AND span_id = ?", keys).rowcount
    return Removed(gone, logs, data, _forget_exemplars(connection, trace_id, None if not others else set(spans)))


def _all_spans(connection: sqlite3.Connection, trace_id: str, span_ids: list[str]) -> list[str]:
    found = connection.execute(
        "SELECT span_id FROM spans WHERE trace_id = :trace UNION SELECT span_id FROM run_data WHERE trace_id = :trace "
        "UNION SELECT span_id FROM run_data_chunks WHERE trace_id = :trace UNION SELECT span_id FROM labels "
        "WHERE trace_id = :trace",
        {"trace": trace_id},
    )
    return sorted({*span_ids, *(row[0] for row in found)})


def _descendants(connection: sqlite3.Connection, trace_id: str, span_ids: list[str]) -> list[str]:
    """Return the call's spans: those of its sequences, the one above several of them, and all below."""
    found = connection.execute(
        "SELECT span_id, parent_span_id, attributes FROM spans WHERE trace_id = ?", (trace_id,)
    ).fetchall()
    children: dict[str, list[str]] = {}
    for span_id, parent, _ in found:
        children.setdefault(parent, []).append(span_id)
    parents = {parent for span_id, parent, _ in found if span_id in span_ids}
    calls = [
        span_id
        for span_id, _, attributes in found
        if span_id in parents and semconv.SEQUENCE_COUNT in (json_object(attributes) or {})
    ]
    chosen, waiting = [], [*span_ids, *calls]
    while waiting:
        span_id = waiting.pop()
        if span_id not in chosen:
            chosen.append(span_id)
            waiting += children.get(span_id, ())
    return chosen


def _forget_exemplars(connection: sqlite3.Connection, trace_id: str, span_ids: set[str] | None) -> int:
    """Take the run's ids out of the exemplars of metrics; return how many points had them."""
    points = connection.execute(
        "SELECT metric_id, attributes, start_ns, exemplars FROM metric_points WHERE instr(exemplars, ?)", (trace_id,)
    ).fetchall()
    changed = 0
    for *key, text in points:
        exemplars = json.loads(text)
        if not (isinstance(exemplars, list) and all(isinstance(each, dict) for each in exemplars)):
            exemplars = []  # none of ours: they go with the run
        kept = [
            each
            for each in exemplars
            if each.get("trace_id") != trace_id or (span_ids is not None and each.get("span_id") not in span_ids)
        ]
        if len(kept) < len(exemplars):
            connection.execute(
                "UPDATE metric_points SET exemplars = ? WHERE metric_id = ? AND attributes = ? AND start_ns = ?",
                (json.dumps(kept, separators=(",", ":")), *key),
            )
            changed += 1
    return changed
