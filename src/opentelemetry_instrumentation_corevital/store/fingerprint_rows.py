"""Fingerprints as rows: vectors of numbers beside the spans that have them as JSON."""

import json
import sqlite3
import struct
from collections.abc import Mapping
from typing import Any, Final

from .. import semconv
from .common_rows import insert

MOST_COMPONENTS: Final = 1024
"""Of a vector that is kept for the search; CoreVital's have some thirty."""
INSERT_FINGERPRINT: Final = insert("fingerprints", ("trace_id", "span_id", "version", "vector"), "INSERT OR REPLACE")
_FILL: Final = (
    "INSERT OR IGNORE INTO fingerprints SELECT trace_id, span_id, json_extract(attributes, '$.\"{version}\"'), "
    "corevital_vector(json_extract(attributes, '$.\"{vector}\"')) FROM spans WHERE (trace_id, span_id) IN "
    "(SELECT trace_id, span_id FROM runs) AND json_type(attributes, '$.\"{version}\"') = 'text' "
    "AND corevital_vector(json_extract(attributes, '$.\"{vector}\"')) IS NOT NULL"
)


def fingerprint_row(attributes: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """Return the version and the vector of a run's checked attributes; None where there is none to compare."""
    version = attributes.get(semconv.FINGERPRINT_VERSION)
    packed = _packed(attributes.get(semconv.FINGERPRINT_VECTOR))
    return None if version is None or packed is None else (version, packed)


def fill(connection: sqlite3.Connection) -> None:
    """Make the rows of runs that were stored before there was this table."""
    connection.create_function("corevital_vector", 1, _packed_json, deterministic=True)
    connection.execute(_FILL.format(version=semconv.FINGERPRINT_VERSION, vector=semconv.FINGERPRINT_VECTOR))
    connection.create_function("corevital_vector", 1, None)


def _packed_json(text: Any) -> bytes | None:
    try:
        return _packed(json.loads(text)) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _packed(vector: Any) -> bytes | None:
    """Return numbers from 0 to 1 as bytes; None for anything else."""
    if not isinstance(vector, list | tuple) or not 0 < len(vector) <= MOST_COMPONENTS:
        return None
    if not all(isinstance(each, int | float) and not isinstance(each, bool) and 0 <= each <= 1 for each in vector):
        return None
    return struct.pack(f"<{len(vector)}d", *vector)
