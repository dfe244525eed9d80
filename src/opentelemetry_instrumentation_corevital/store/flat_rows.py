"""Runs as flat rows for other programs: CSV and Parquet."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from .. import semconv
from .._internal.printable import printable
from .checked_attributes import damage_json
from .filters import FLAGS
from .run_columns import COLUMN_ATTRIBUTES
from .stored_run import COLUMNS, RunSummary

if TYPE_CHECKING:
    import pyarrow

_TIMES: Final = ("start_ns", "end_ns")
_TRUTHS: Final = frozenset((*FLAGS, "expected_found"))
_SHOWN_AS_THEY_ARE: Final = frozenset(("finish_reason", "warnings"))
"""Columns that are text, though their attributes are lists."""


def run_rows(runs: Iterable[RunSummary]) -> Iterator[dict[str, Any]]:
    """Yield runs as flat rows: warnings joined with semicolons, flags as true and false, damage as JSON."""
    for run in runs:
        warnings = None if run.warnings is None else ";".join(run.warnings)
        yield {**run.as_dict(), "warnings": warnings, "damage": damage_json(run.damage)}


def write_csv_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], file: IO[str], *, head: bool) -> int:
    """Write rows as CSV (RFC 4180, but with the system's line ends) and return how many; None becomes nothing.

    Args:
        rows: column -> value of each.
        columns: in their order.
        file: where to.
        head: whether the names of the columns come first.
    """
    writer = csv.writer(file, lineterminator="\n")
    if head:
        writer.writerow([_cell(name) for name in columns])  # names of attributes and columns may be anybody's, too
    count = 0
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
        count += 1
    return count


def arrow_table(runs: Iterable[RunSummary]) -> "pyarrow.Table":
    """Return runs as a table of Arrow with one row each; times are UTC timestamps. All tables have the same columns.

    Raises:
        ImportError: where pyarrow is not installed.
    """
    import pyarrow

    kinds = {
        "int": pyarrow.int64(),
        "double": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "time": pyarrow.timestamp("ns", "UTC"),
        "string": pyarrow.string(),
    }
    schema = pyarrow.schema([(name.removesuffix("_ns"), kinds[_kind(name)]) for name in COLUMNS])
    rows = list(run_rows(runs))
    columns = [
        pyarrow.array([row[name] for row in rows], field.type) for name, field in zip(COLUMNS, schema, strict=True)
    ]
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _kind(column: str) -> str:
    if column in _TIMES:
        return "time"
    if column in _TRUTHS:
        return "boolean"
    if column in _SHOWN_AS_THEY_ARE or column not in COLUMN_ATTRIBUTES:
        return "string"
    return semconv.DEFINITIONS["attribute", COLUMN_ATTRIBUTES[column][0]].type


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value)  # else it would run
