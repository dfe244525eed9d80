"""Fingerprints of runs that are stored, were just made, or are told by a report."""

from collections.abc import Mapping
from typing import Any

from .. import semconv
from ..run import Fingerprint, Run
from .stored_run import StoredRun


def get_fingerprint(run: StoredRun | Run | Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint of a stored run, of one that was just made, or of a report; what is not known is None.

    A report is what its JSON holds. The vector of the first CoreVital's has no version: it has no distance to ours.

    Raises:
        TypeError: for a row of a list, which does not hold all of it; `Store.load` returns its run.
        ValueError: for a mapping that is no report.
    """
    if isinstance(run, Run):
        return run.fingerprint or Fingerprint()
    if isinstance(run, Mapping):
        return _of_report(run)
    if not isinstance(run, StoredRun):
        raise TypeError(
            f"a StoredRun, a Run or a report was expected, not {type(run).__name__}: Store.load(run) returns the first"
        )
    return fingerprint_in(run.attributes)


def fingerprint_in(attributes: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint that the attributes of a run's span hold."""
    get = attributes.get
    vector = get(semconv.FINGERPRINT_VECTOR)
    return Fingerprint(
        prompt_hash=get(semconv.FINGERPRINT_PROMPT_HASH),
        prompt_hash_source=get(semconv.FINGERPRINT_PROMPT_HASH_SOURCE),
        run_hash=get(semconv.FINGERPRINT_RUN_HASH),
        vector=None if vector is None else tuple(vector),
        version=get(semconv.FINGERPRINT_VERSION),
    )


def _of_report(report: Mapping[str, Any]) -> Fingerprint:
    if not isinstance(report.get("schema_version"), str):
        raise ValueError("schema_version: is not there, so this is no report")
    extensions = report.get("extensions")
    found = extensions.get("fingerprint") if isinstance(extensions, Mapping) else None
    if not isinstance(found, Mapping):
        return Fingerprint()
    strings: dict[str, Any] = {
        name: found.get(name) for name in ("prompt_hash", "prompt_hash_source", "run_hash", "version")
    }
    vector = found.get("vector")
    for name, value in strings.items():
        if not isinstance(value, str | None):
            raise ValueError(f"extensions.fingerprint.{name}: expected a text")
    numbers = isinstance(vector, list) and all(isinstance(each, int | float) for each in vector)
    if vector is not None and not numbers:
        raise ValueError("extensions.fingerprint.vector: expected a list of numbers")
    return Fingerprint(vector=None if vector is None else tuple(map(float, vector)), **strings)
