"""Run data: chunks that come as log records, in any order and from several processes, joined to one blob per run.

What is whole is decided inside the transaction that stores a chunk, so whichever process stores the last one joins.
"""

import base64
import hashlib
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .. import semconv
from .common_rows import Lost, Row, insert, integer, size_of
from .data_damage import note_damage_of_data

MAX_BYTES: Final = 512 * 1024 * 1024
"""Run data beyond it is refused: SQLite holds at most 10^9 bytes in one value, and joining takes memory."""
PATIENCE_NS: Final = 24 * 3600 * 10**9
"""Nanoseconds for which chunks wait for their others."""

_COLUMNS: Final = (
    "trace_id",
    "span_id",
    "sha256",
    "chunk_count",
    "size",
    "chunk_index",
    "data",
)
_RUN: Final = "trace_id = ? AND span_id = ? AND sha256 = ?"
_GROUP: Final = f"{_RUN} AND chunk_count = ? AND size = ?"
_INSERT_CHUNK: Final = insert("run_data_chunks", (*_COLUMNS, "received_ns"), "INSERT OR REPLACE")
INSERT_RUN_DATA: Final = insert(
    "run_data", ("trace_id", "span_id", "sha256", "received_ns", "data"), "INSERT OR REPLACE"
)


class MalformedError(ValueError):
    """A log record that says that it is a chunk of run data and cannot be one; the message says why."""


@dataclass(frozen=True, slots=True)
class RunDataChunk:
    """One chunk."""

    row: Row
    bytes: int

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Store the chunk; with the last one that was missing, join all, check them and store the run data."""
        run, group = self.row[:3], self.row[:5]
        size, index = self.row[4:6]
        whole = connection.execute(f"SELECT length(data) FROM run_data WHERE {_RUN}", run).fetchone()
        if whole is not None:  # delivered again, and the digest says that the data is the same
            return () if whole == (size,) else (Lost(1, "a chunk of run data names a size that is not its run's."),)
        now = time.time_ns()
        connection.execute(_INSERT_CHUNK, (*self.row, now))
        lost = _give_up_stale(connection, now) if index == 0 else []
        if _complete(connection, group):
            lost += _join(connection, group, now)
        return lost


@dataclass(frozen=True, slots=True)
class WholeRunData:
    """Run data in one piece."""

    row: Row
    bytes: int

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Write the data, in place of others of the run."""
        connection.execute(INSERT_RUN_DATA, self.row)
        note_damage_of_data(connection, self.row[:2], self.row[-1])
        return ()


def whole_run_data(trace_id: str, span_id: str, data: bytes) -> WholeRunData:
    """Return a run's data as a record."""
    row = (trace_id, span_id, hashlib.sha256(data).hexdigest(), time.time_ns(), data)
    return WholeRunData(row, size_of(row))


def run_data_chunk(trace_id: str | None, span_id: str | None, attributes: Mapping[str, Any], body: Any) -> RunDataChunk:
    """Return the chunk of run data that a log record holds.

    Raises:
        MalformedError: if it cannot be one.
    """
    count = integer(attributes.get(semconv.RUN_DATA_CHUNK_COUNT))
    index = integer(attributes.get(semconv.RUN_DATA_CHUNK_INDEX))
    size = integer(attributes.get(semconv.RUN_DATA_SIZE))
    digest = attributes.get(semconv.RUN_DATA_SHA256)
    if count is None or index is None or size is None:
        raise _malformed("its index, its count or its size is no integer")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest.lower()):
        raise _malformed("its SHA-256 is not 64 hexadecimal digits")
    if not trace_id or not span_id:
        raise _malformed("it belongs to no span")
    if not 0 < size <= MAX_BYTES:
        raise _malformed(f"its size is not between 1 and {MAX_BYTES} bytes")
    if not 0 <= index < count <= size:
        raise _malformed("its index is not below its count, or its count is not possible with its size")
    data = _data(body)
    # Every other chunk holds one byte at least.
    if not 1 <= len(data) <= size - (count - 1) or (count == 1 and len(data) != size):
        raise _malformed("its bytes do not fit its size")
    row = (trace_id, span_id, digest.lower(), count, size, index, data)
    return RunDataChunk(row, size_of(row))


def _malformed(reason: str) -> MalformedError:
    return MalformedError(f"a chunk of run data was left out: {reason}.")


def _data(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if not isinstance(body, str):
        raise _malformed("its body is neither bytes nor base64 text")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise _malformed("its body is not base64 text") from None


def _complete(connection: sqlite3.Connection, group: Row) -> bool:
    # Chunks mostly come in order: only with the last one it is worth counting them.
    last = f"SELECT 1 FROM run_data_chunks WHERE {_GROUP} AND chunk_index = ?"
    if connection.execute(last, (*group, group[3] - 1)).fetchone() is None:
        return False
    found = connection.execute(f"SELECT count(*) FROM run_data_chunks WHERE {_GROUP}", group).fetchone()
    return bool(found[0] == group[3])


def _join(connection: sqlite3.Connection, group: Row, now: int) -> list[Lost]:
    trace_id, span_id, digest, count, size = group
    chunks = connection.execute(f"SELECT data FROM run_data_chunks WHERE {_GROUP} ORDER BY chunk_index", group)
    data = b"".join(chunk for (chunk,) in chunks)
    wrong = None
    if len(data) != size:
        wrong = "its chunks together have another size than they say"
    elif hashlib.sha256(data).hexdigest() != digest:
        wrong = "its SHA-256 is another than its chunks say"
    if wrong is not None:
        connection.execute(f"DELETE FROM run_data_chunks WHERE {_GROUP}", group)
        return [Lost(count, f"a run's data was left out: {wrong}.")]
    connection.execute(INSERT_RUN_DATA, (trace_id, span_id, digest, now, data))
    damaged = note_damage_of_data(connection, (trace_id, span_id), data)
    noted = [Lost(0, f"{name} {why}; it reads as absent.", own=False) for name, why in damaged.items()]
    others = connection.execute(f"DELETE FROM run_data_chunks WHERE {_RUN}", group[:3]).rowcount - count
    if others:
        noted.append(Lost(others, "chunks of run data name a count or a size that is not their run's.", own=False))
    return noted


def _give_up_stale(connection: sqlite3.Connection, now: int) -> list[Lost]:
    stale = connection.execute("DELETE FROM run_data_chunks WHERE received_ns < ?", (now - PATIENCE_NS,)).rowcount
    return (
        [Lost(stale, "chunks of run data waited a day in vain for the others of their run.", own=False)]
        if stale
        else []
    )
