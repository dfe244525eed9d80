"""The nearest fingerprints: a walk over their rows, without reading any span."""

import heapq
import sqlite3
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..run import Fingerprint
from .filters import ANY_RUN, RunFilter
from .fingerprint_rows import MOST_COMPONENTS
from .similar_runs import kind_of_vector
from .sqlite_filters import like, where

_Ids = tuple[str, str]

_ROWS: Final = 8192
"""Vectors in memory at a time."""
_NUMBER: Final = np.dtype("<f8")
_VECTORS: Final = (
    "SELECT CAST(trace_id AS BLOB), CAST(span_id AS BLOB), vector FROM fingerprints "  # made text where they are kept
    "WHERE (version = ? OR version LIKE ? ESCAPE '!') AND typeof(vector) = 'blob' "
    f"AND length(vector) BETWEEN 8 AND {8 * MOST_COMPONENTS}"
)


def nearest_keys(
    connection: sqlite3.Connection, own: Fingerprint, key: _Ids, k: int, wanted: RunFilter
) -> list[tuple[_Ids, float]]:
    """Return the keys of the runs nearest to one, itself left out, with their distances.

    Of runs at one distance there may be more than `k`: which of them are newest is not known here.

    Args:
        connection: of the store.
        own: the run's fingerprint, which has a vector and a version.
        key: its trace id and span id.
        k: how many, from 1.
        wanted: which runs are looked at.
    """
    kind, vector = kind_of_vector(own.version or ""), np.array(own.vector, _NUMBER)
    condition, values = where(wanted)
    among = f"AND (trace_id, span_id) IN (SELECT trace_id, span_id FROM runs {condition})"
    rows = connection.execute(f"{_VECTORS} {'' if wanted == ANY_RUN else among}", (kind, f"{like(kind)}-%", *values))
    found, farthest = list[tuple[float, _Ids]](), np.inf
    while some := rows.fetchmany(_ROWS):
        distances = _distances(vector, [blob for *_, blob in some])
        near = np.flatnonzero(distances <= farthest).tolist()  # NaN is not
        keys = ((float(distances[place]), _key(*some[place][:2])) for place in near)
        found += [each for each in keys if each[1] != key]
        if len(found) > k:
            farthest = heapq.nsmallest(k, found)[-1][0]
            found = [each for each in found if each[0] <= farthest]
    return [(each, distance) for distance, each in found]


def _key(trace_id: bytes, span_id: bytes) -> _Ids:
    return trace_id.decode("ascii", "replace"), span_id.decode("ascii", "replace")


def _distances(vector: NDArray[Any], blobs: list[bytes]) -> NDArray[np.float64]:
    """Return the distance of each of some vectors, as `Fingerprint.distance`: over the components that both have."""
    distances = np.full(len(blobs), np.nan)
    lengths = np.array([len(blob) // 8 for blob in blobs])
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        several = np.frombuffer(b"".join(blobs[place][: 8 * length] for place in chosen.tolist()), _NUMBER)
        shared = min(length, len(vector))
        off = several.reshape(-1, length)[:, :shared] - vector[:shared]
        distances[chosen] = np.sqrt(np.mean(off * off, axis=1))
    return distances
