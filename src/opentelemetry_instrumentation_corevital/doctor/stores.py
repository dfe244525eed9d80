"""The stores among the exporters: where their files are, and how large."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._internal.byte_size import byte_size
from .findings import Area, Finding, ok


def check(told: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield where each store is and how large, after the test has opened it."""
    exporters = told[0].get("exporters", ())
    paths = dict.fromkeys(each["where"] for each in exporters if each["kind"].startswith("SQLite") and each["where"])
    for path in paths:
        if (size := _size(path)) is not None:
            yield ok(Area.EXPORTERS, "store", f"{path}, {size}")


def _size(path: str) -> str | None:
    """Return the size of a store's file with what is not yet merged into it; None where there is none."""
    sizes = [os.path.getsize(file) for file in (path, f"{path}-wal") if os.path.isfile(file)]
    if not sizes:
        return None
    return byte_size(sum(sizes))
