"""The vector of a run's fingerprint, from the table that has it without the span."""

import sqlite3
import struct
from collections.abc import Sequence
from typing import Final

from .fingerprint_rows import MOST_COMPONENTS

_VECTOR: Final = (
    "SELECT version, vector FROM fingerprints WHERE trace_id = ? AND span_id = ? AND typeof(version) = 'text' "
    f"AND typeof(vector) = 'blob' AND length(vector) BETWEEN 8 AND {8 * MOST_COMPONENTS}"
)


def vector_of(connection: sqlite3.Connection, trace_id: str, span_id: str) -> tuple[str, Sequence[float]] | None:
    """Return version and vector; None where there is none, or what is there is none."""
    found = connection.execute(_VECTOR, (trace_id, span_id)).fetchone()
    if found is None or len(found[1]) % 8:
        return None
    vector = struct.unpack(f"<{len(found[1]) // 8}d", found[1])
    return (found[0], vector) if all(0 <= each <= 1 for each in vector) else None
