"""Output for programs: JSON and CSV."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..store.stored import COLUMNS, RunSummary
from .errors import UserError


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def one_format(*, as_json: bool, as_csv: bool) -> None:
    """Refuse both at once.

    Raises:
        UserError: if both are asked for.
    """
    if as_json and as_csv:
        raise UserError("--json and --csv do not go together.")


@contextmanager
def whole_file(out: Path | None, option: str = "--out") -> Iterator[IO[str]]:
    """Open a file beside the one wanted and put it in place once it is whole; without one, standard output.

    Raises:
        UserError: if it cannot be written; it names the option.
    """
    if out is None:
        yield sys.stdout
        return
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(out)
    except OSError as error:
        raise UserError(f"{option} {out}: cannot be written ({error.strerror}).") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], file: IO[str] | None = None) -> int:
    """Write rows as CSV (RFC 4180, but with the system's line ends) and return how many; None becomes nothing."""
    writer = csv.DictWriter(file or sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow({name: _cell(row.get(name)) for name in columns})
        count += 1
    return count


def run_rows(runs: Iterable[RunSummary]) -> Iterable[dict[str, Any]]:
    """Yield runs as flat rows: warnings joined with semicolons, flags as true and false."""
    for run in runs:
        yield {**run.as_dict(), "warnings": None if run.warnings is None else ";".join(run.warnings)}


RUN_COLUMNS = COLUMNS


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"  # a spreadsheet would run it
    return value
