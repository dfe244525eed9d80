"""Where reports of the first CoreVital are: files `trace_*.json`, and databases with a table `reports`."""

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..file_io import NoJsonError, OddFileError, kind_of, parsed_json, read_regular

MOST_BYTES: Final = 128 * 1024 * 1024
"""A report that is larger, decompressed, is refused: those of the first CoreVital have a few megabytes."""
_DATABASES: Final = (".db", ".sqlite", ".sqlite3")
_SQLITE: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Found:
    """A report that was found, or why what looked like one is none."""

    where: str
    """File, and in a database the row."""
    report: Any = None
    problem: str | None = None


def find(folder: Path, *, but: Path) -> Iterator[Found]:
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


def _file(path: Path) -> Found:
    try:
        return _parsed(str(path), read_regular(path, MOST_BYTES))
    except OddFileError as error:
        return Found(str(path), problem=f"{error.strerror}, which no report does")
    except OSError as error:
        return Found(str(path), problem=f"cannot be read ({error.strerror})")


def _parsed(where: str, data: bytes | str) -> Found:
    try:
        return Found(where, parsed_json(data))
    except NoJsonError as error:
        return Found(where, problem=f"{error}{'; the file is cut off' if error.cut_off else ''}")


def _database(path: Path) -> Iterator[Found]:
    try:
        if kind := kind_of(path):
            yield Found(str(path), problem=f"is {kind}, not a file")
            return
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                yield Found(str(path), problem="not an SQLite database")
                return
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(reports)")}
            if "trace_id" not in columns or not columns & {"report_json", "report_blob"}:
                yield Found(str(path), problem="holds no table of reports; is it another program's?")
                return
            yield from _rows(connection, path, columns)
    except (OSError, sqlite3.Error) as error:
        yield Found(str(path), problem=f"cannot be read ({error})")


def _rows(connection: sqlite3.Connection, path: Path, columns: set[str]) -> Iterator[Found]:
    wanted = [name if name in columns else f"NULL AS {name}" for name in ("trace_id", "report_json", "report_blob")]
    names = [name for (name,) in connection.execute("SELECT rowid FROM reports ORDER BY rowid")]
    for row_id in names:
        try:
            trace_id, text, blob = connection.execute(
                f"SELECT {', '.join(wanted)} FROM reports WHERE rowid = ?", (row_id,)
            ).fetchone()
        except sqlite3.Error as error:  # of a damaged file, other rows can be read
            yield Found(f"{path}, row {row_id}", problem=f"cannot be read ({error})")
            continue
        where = f"{path}, row {row_id} ({trace_id})"
        data = text if text else blob
        if data is None:
            yield Found(where, problem="neither report_json nor report_blob holds anything")
            continue
        try:
            yield _parsed(where, data if isinstance(data, str) else _unpacked(data))
        except (ValueError, zlib.error) as error:
            yield Found(where, problem=str(error))


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
