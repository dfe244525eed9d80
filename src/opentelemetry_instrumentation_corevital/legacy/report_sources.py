"""Where reports of the first CoreVital are: files `trace_*.json`, and databases with a table `reports`."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .._internal.file_io import NoJsonError, OddFileError, kind_of, parsed_json, read_regular
from ..store import StoreError
from ..store.report_database import ReportRow, report_rows

MOST_BYTES: Final = 128 * 1024 * 1024
"""A report that is larger, decompressed, is refused: those of the first CoreVital have a few megabytes."""
_DATABASES: Final = (".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True, slots=True)
class FoundReport:
    """A report that was found, or why what looked like one is none."""

    where: str
    """File, and in a database the row."""
    report: Any = None
    problem: str | None = None


def find(folder: Path, *, but: Path) -> Iterator[FoundReport]:
    """Yield the reports in a folder and those below it.

    Args:
        folder: where to look.
        but: the store that they go into.
    """
    for path in sorted(_files(folder)):
        if path.suffix == ".json":
            yield _file(path)
        elif not (but.exists() and path.samefile(but)):
            yield from _database(path)


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):  # which does not follow links
        for name in names:
            is_report = name.startswith("trace_") and name.endswith(".json") and "_performance_" not in name
            if is_report or name.endswith(_DATABASES):
                yield Path(root, name)


def _file(path: Path) -> FoundReport:
    try:
        return _parsed(str(path), read_regular(path, MOST_BYTES))
    except OddFileError as error:
        return FoundReport(str(path), problem=f"{error.strerror}, which no report does")
    except OSError as error:
        return FoundReport(str(path), problem=f"cannot be read ({error.strerror})")


def _parsed(where: str, data: bytes | str) -> FoundReport:
    try:
        return FoundReport(where, parsed_json(data))
    except NoJsonError as error:
        return FoundReport(where, problem=f"{error}{'; the file is cut off' if error.cut_off else ''}")


def _database(path: Path) -> Iterator[FoundReport]:
    try:
        if kind := kind_of(path):
            yield FoundReport(str(path), problem=f"is {kind}, not a file")
            return
        for row in report_rows(path):
            yield _row(row, path)
    except OSError as error:
        yield FoundReport(str(path), problem=f"cannot be read ({error})")
    except StoreError as error:
        yield FoundReport(str(path), problem=str(error))


def _row(row: ReportRow, path: Path) -> FoundReport:
    where = f"{path}, row {row.row_id}"
    if row.problem is not None:
        return FoundReport(where, problem=row.problem)
    where = f"{where} ({row.trace_id})"
    if row.content is None:
        return FoundReport(where, problem="neither report_json nor report_blob holds anything")
    try:
        return _parsed(where, row.content if isinstance(row.content, str) else _unpacked(row.content))
    except (ValueError, zlib.error) as error:
        return FoundReport(where, problem=str(error))


def _unpacked(data: bytes) -> bytes:
    """Return the bytes of a gzip, or data that are none."""
    if data[:2] != b"\x1f\x8b":
        return data
    unpacker = zlib.decompressobj(wbits=31)
    found = unpacker.decompress(data, MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(_too_large())
    if not unpacker.eof:
        raise ValueError(f"its gzip is cut off after {len(data)} bytes")
    return found


def _too_large() -> str:
    return f"larger than {MOST_BYTES >> 20} MiB, which no report is"
