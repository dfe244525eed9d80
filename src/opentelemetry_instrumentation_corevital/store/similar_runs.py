"""Runs that behaved like another one, by their fingerprints."""

import heapq
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from .._internal.printable import one_line
from .._internal.short_repr import call_like
from .store_error import StoreError
from .stored_run import RunSummary

if TYPE_CHECKING:
    from ..run import Fingerprint

SIMILAR_RUNS: Final = 10
"""How many are looked for, if nothing is said."""


class SimilarRun(NamedTuple):
    """A run, and how far its fingerprint is from that of another: 0 is alike, 1 as different as can be."""

    run: RunSummary
    distance: float

    def __repr__(self) -> str:
        """Return one line."""
        return call_like(type(self).__name__, {"run": self.run, "distance": round(self.distance, 4)})


def kind_of_vector(version: str) -> str:
    """Return what two versions of fingerprints have in common whose vectors can be compared."""
    return version.partition("-")[0]


def comparable(fingerprint: "Fingerprint", run: RunSummary, source: str) -> "Fingerprint":
    """Return a run's fingerprint, where it has a vector that others can be compared with.

    Raises:
        StoreError: if it has none; it says so.
    """
    if fingerprint.vector and fingerprint.version is not None:
        return fingerprint
    raise StoreError(
        f"{source}: run {one_line(run.trace_id)} has no fingerprint to compare others with: it was not judged so far, "
        "or by a program that makes none."
    )


def nearest(
    own: "Fingerprint", of: RunSummary, others: "Iterable[tuple[RunSummary, Fingerprint]]", k: int
) -> list[SimilarRun]:
    """Return the runs nearest to one, itself left out: the nearest first, of equals the newest.

    Args:
        own: its fingerprint, which has a vector.
        of: the run.
        others: runs with their fingerprints; those without a vector, or of another version, are passed over.
        k: how many at most.
    """
    key, kind = (of.trace_id, of.span_id), kind_of_vector(own.version or "")
    found = (
        SimilarRun(run, own.distance(fingerprint))
        for run, fingerprint in others
        if fingerprint.vector and fingerprint.version is not None and kind_of_vector(fingerprint.version) == kind
        if (run.trace_id, run.span_id) != key
    )
    return in_order(found, k)


def in_order(found: Iterable[SimilarRun], k: int) -> list[SimilarRun]:
    """Return the nearest ones, so many at most: the nearest first, of equals the newest."""
    return heapq.nsmallest(k, found, key=lambda each: (each.distance, -each.run.start_ns, each.run.trace_id))
