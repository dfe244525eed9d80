"""Databases of the first CoreVital, read: a table `reports`, one report a row."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .store_error import StoreError

_SQLITE: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A row of such a database."""

    row_id: int
    trace_id: object = None
    """As it is in the file, whatever that is."""
    content: str | bytes | None = None
    """The report: JSON, or a gzip of it; None where the row has none."""
    problem: str | None = None
    """Why the row cannot be read."""


def report_rows(path: Path) -> Iterator[ReportRow]:
    """Yield the rows of a database of the first CoreVital; of a damaged one those that can be read.

    Raises:
        OSError: if the file cannot be opened.
        StoreError: if it is no such database, or cannot be read; the message does not name it.
    """
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise StoreError("not an SQLite database")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(reports)")}
            if "trace_id" not in columns or not columns & {"report_json", "report_blob"}:
                raise StoreError("holds no table of reports; is it another program's?")
            yield from _rows(connection, columns)
    except sqlite3.Error as error:
        raise StoreError(f"cannot be read ({error})") from None


def _rows(connection: sqlite3.Connection, columns: set[str]) -> Iterator[ReportRow]:
    wanted = [name if name in columns else f"NULL AS {name}" for name in ("trace_id", "report_json", "report_blob")]
    one = f"SELECT {', '.join(wanted)} FROM reports WHERE rowid = ?"
    for (row_id,) in connection.execute("SELECT rowid FROM reports ORDER BY rowid").fetchall():
        try:
            trace_id, text, blob = connection.execute(one, (row_id,)).fetchone()
        except sqlite3.Error as error:
            yield ReportRow(row_id, problem=f"cannot be read ({error})")
            continue
        content = text or blob
        if isinstance(content, str | bytes | None):
            yield ReportRow(row_id, trace_id, content)
        else:  # columns of SQLite take values of any type
            yield ReportRow(row_id, problem="neither report_json nor report_blob holds text or bytes")
