"""The stores among the exporters: where their files are, how large, and runs in them whose numbers disagree."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._internal.byte_size import byte_size
from ..store import StoreError
from ..store.doubted_runs import NEWEST, doubted_runs
from .findings import Area, Finding, note, ok


def check(told: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield where each store is and how large, and whether runs in it are in doubt, after the test has opened it."""
    exporters = told[0].get("exporters", ())
    paths = dict.fromkeys(each["where"] for each in exporters if each["kind"].startswith("SQLite") and each["where"])
    for path in paths:
        if (size := _size(path)) is not None:
            yield ok(Area.EXPORTERS, "store", f"{path}, {size}")
            yield from _doubted(path)


def _doubted(path: str) -> Iterator[Finding]:
    """Yield that numbers of stored runs disagree, with those of the newest one."""
    try:
        found = doubted_runs(path)
    except StoreError:  # the test of the exporter says what is wrong
        return
    if found:
        text = f"{len(found)} of the newest {NEWEST} in {path} are in doubt; of the newest, {found[0]}"
        yield note(Area.EXPORTERS, "runs", text, "say so to CoreVital's authors, with this output")


def _size(path: str) -> str | None:
    """Return the size of a store's file with what is not yet merged into it; None where there is none."""
    sizes = [os.path.getsize(file) for file in (path, f"{path}-wal") if os.path.isfile(file)]
    if not sizes:
        return None
    return byte_size(sum(sizes))
