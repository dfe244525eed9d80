"""A list of runs as a file: all that match, some at a time, so that memory does not grow with their number."""

import io
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, Final

from .._internal.printable import json_printable
from ..store.flat_rows import arrow_table, run_rows, write_csv_rows
from ..store.stored_run import COLUMNS, RunList
from .request_errors import NotFoundError, NotInstalledError

Lists = Iterator[RunList]

PARQUET_NEEDS: Final = "pyarrow"


def csv_pieces(lists: Lists) -> Iterator[bytes]:
    """Yield runs as CSV, as `corevital runs --csv` prints it."""
    head = True
    for runs in lists:
        text = io.StringIO()
        write_csv_rows(run_rows(runs), COLUMNS, text, head=head)
        head = False
        yield text.getvalue().encode("utf-8", "replace")


def json_pieces(lists: Lists) -> Iterator[bytes]:
    """Yield runs as a JSON list with a run in each line, as `corevital runs --json` prints them."""
    before = "["
    for runs in lists:
        text = ""
        for run in runs:
            text += f"{before}\n{json_printable(json.dumps(run.as_dict(), ensure_ascii=False))}"
            before = ","
        yield text.encode("utf-8", "replace")
    yield b"[]\n" if before == "[" else b"\n]\n"


def parquet_pieces(lists: Lists) -> Iterator[bytes]:
    """Yield runs as Parquet, a row group for each part of the list."""
    import pyarrow.parquet

    sink = _Sink()
    schema = arrow_table([]).schema
    with pyarrow.parquet.ParquetWriter(sink, schema, compression="snappy") as writer:
        for runs in lists:
            if runs:
                writer.write_table(arrow_table(runs))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file of which what was written can be taken away."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._written

    def taken(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


FORMATS: Final[dict[str, tuple[Callable[[Lists], Iterator[bytes]], str]]] = {
    "csv": (csv_pieces, "text/csv; charset=utf-8"),
    "json": (json_pieces, "application/json"),
    "parquet": (parquet_pieces, "application/vnd.apache.parquet"),
}
"""Ending of the address -> what writes the file, and its type."""


def exporter(ending: str) -> tuple[Callable[[Lists], Iterator[bytes]], str]:
    """Return what writes a file, and its type.

    Raises:
        NotFoundError: if there is no such format.
        NotInstalledError: if it needs a package that is not there.
    """
    if ending not in FORMATS:
        raise NotFoundError(f"Runs are exported as {', '.join(FORMATS)}.")
    if ending == "parquet" and not parquet_works():
        raise NotInstalledError(
            f"Parquet needs {PARQUET_NEEDS}: pip install 'opentelemetry-instrumentation-corevital[pandas]'. "
            "CSV and JSON need nothing."
        )
    return FORMATS[ending]


def parquet_works() -> bool:
    """Return whether Parquet can be written here."""
    return find_spec(PARQUET_NEEDS) is not None
