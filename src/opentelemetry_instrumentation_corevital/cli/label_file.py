"""Labels from a CSV: every line is checked before one is written."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .._internal.file_io import read_any
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..store import RunSource, RunSummary, StoreError
from ..store.bulk_labels import NewLabel
from ..store.labels import check_outcome
from .options import MOST_INPUT_BYTES

MOST_NOTE: Final = 2**14
"""Characters of a note: it is shown whole."""
_MOST_TOLD: Final = 5
_MOST_SHOWN: Final = 60
_IDS: Final = ("id", "trace_id")
_READ: Final = (*_IDS, "span_id", "sequence_index", "outcome", "note")
_HEADER: Final = "write a header such as id,outcome,note"


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    """Where it begins, from 1."""
    cells: Mapping[str, str]
    """Column -> what it has, for those that are read."""


class _WrongRowError(Exception):
    """What is wrong with a line: the column, why, and what to do."""


def read_labels(file: str, store: RunSource) -> list[NewLabel]:
    """Return the labels of a CSV, one for each run.

    The header names `outcome`, perhaps `note`, and what tells a run: `id`, as every command takes it, or `trace_id`,
    with `sequence_index` or `span_id` where a trace has several. Other columns are passed over.

    Args:
        file: its path; `-` is standard input.
        store: what has the runs.

    Raises:
        UserError: for a file that cannot be read, and for the first lines that are wrong, with file, line and column.
    """
    name = "standard input" if file == "-" else file
    rows = _rows(_text(file, name), name)
    found: dict[tuple[str, str], tuple[_Row, NewLabel]] = {}
    wrong: list[str] = []
    for row in rows:
        try:
            label = _label(row.cells, store)
            first, other = found.setdefault((label.run.trace_id, label.run.span_id), (row, label))
            if (other.outcome, other.note) != (label.outcome, label.note):
                column = "outcome" if other.outcome != label.outcome else "note"
                raise _WrongRowError(f"{column}: line {first.line} says something else of this run; keep one of them.")
        except _WrongRowError as error:
            wrong.append(f"--from {name}, line {row.line}: {error}")
            if len(wrong) == _MOST_TOLD:
                wrong.append("No line behind that was checked.")
                break
    if wrong:
        raise UserError("\n".join([*wrong, "No run was labelled."]))
    if not found:
        raise UserError(f"--from {name}: has no line behind its header; write one for each run.")
    return [label for _, label in found.values()]


# --- the file -----------------------------------------------------------------------------------------------------


def _text(file: str, name: str) -> str:
    try:
        data = sys.stdin.buffer.read(MOST_INPUT_BYTES + 1) if file == "-" else read_any(Path(file), MOST_INPUT_BYTES)
    except OSError as error:
        raise UserError(f"--from {name}: cannot be read: {error.strerror}.") from None
    if len(data) > MOST_INPUT_BYTES:
        raise UserError(f"--from {name}: has over {MOST_INPUT_BYTES >> 20} MiB; give it in parts.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"--from {name}, line {line}: is not UTF-8 at byte {error.start} of the file; save it as UTF-8 "
            "(in Excel: CSV UTF-8)."
        ) from None


def _rows(text: str, name: str) -> Iterator[_Row]:
    """Yield the rows behind the header, without empty ones.

    Raises:
        UserError: for a header that does not tell runs and outcomes, and for what is no CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)  # `splitlines` takes more for line ends
    header: list[str] | None = None
    begin = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"--from {name}, line {begin}: is no CSV ({error}); close its quotes, and double those in a text."
            ) from None
        if cells is None:
            break
        if not any(cell.strip() for cell in cells):
            pass
        elif header is None:
            header = _columns(cells, f"--from {name}, line {begin}")
        elif len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise UserError(
                f"--from {name}, line {begin}: has {len(cells)} cells, and the header {len(header)}; "
                'put a text with commas into "quotes".'
            )
        else:
            told = dict(zip(header, cells, strict=False))
            yield _Row(begin, {column: told[column].strip() for column in _READ if column in told})
        begin = reader.line_num + 1
    if header is None:
        raise UserError(f"--from {name}: is empty; {_HEADER}, and a line for each run.")


def _columns(cells: Sequence[str], place: str) -> list[str]:
    """Return the names of a header, in lower case."""
    names = [cell.strip().lower() for cell in cells]
    if "outcome" not in names and len(names) == 1:
        for mark, word in ((";", "semicolons"), ("\t", "tabs")):
            if mark in cells[0]:
                raise UserError(
                    f"{place}: its columns are divided by {word}, as some spreadsheets do; "
                    "save it with commas between them."
                )
    if not any(each in names for each in _IDS):
        raise UserError(f"{place}: is no header with a column id (or trace_id); {_HEADER}.")
    if "outcome" not in names:
        other = "; name the column label so" if "label" in names else f"; {_HEADER}"
        raise UserError(f"{place}: the header has no column outcome{other}.")
    twice = next((each for each in _READ if names.count(each) > 1), None)
    if twice is not None:
        raise UserError(f"{place}: the header has the column {twice} twice; take one of them out.")
    return names


# --- one line -----------------------------------------------------------------------------------------------------


def _label(cells: Mapping[str, str], store: RunSource) -> NewLabel:
    run = _run(cells, store)
    outcome, note = cells.get("outcome", ""), cells.get("note") or None
    if not outcome:
        raise _WrongRowError("outcome: is empty, which takes no label away; `corevital label RUN --remove` does.")
    try:
        check_outcome(outcome)
    except StoreError as error:
        raise _WrongRowError(str(error)) from None
    if note is not None and len(note) > MOST_NOTE:
        raise _WrongRowError(f"note: has {len(note):,} characters; {MOST_NOTE:,} are the most.")
    return NewLabel(run, outcome, note)


def _run(cells: Mapping[str, str], store: RunSource) -> RunSummary:
    column = next((each for each in _IDS if each in cells), _IDS[0])
    name, index, span_id = cells.get(column, ""), cells.get("sequence_index", ""), cells.get("span_id", "")
    if not name:
        raise _WrongRowError(f"{column}: is empty; write the run's id, which `corevital runs` lists.")
    shown = one_line(name, _MOST_SHOWN)
    if column == "trace_id" and span_id:
        run = store.summary(name.lower(), span_id.lower())
        if run is None:
            raise _WrongRowError(
                f"trace_id, span_id: {store.name} holds no run {shown} {one_line(span_id, _MOST_SHOWN)}."
            )
        return run
    if column == "trace_id" and index:
        if not index.isdecimal():
            raise _WrongRowError(
                f"sequence_index: {one_line(index, _MOST_SHOWN)} is no number; write that of the sequence, from 0."
            )
        name = f"{name}:{int(index)}"
    try:
        return store.named(name)
    except StoreError as error:
        raise _WrongRowError(f"{column}: {error}") from None
