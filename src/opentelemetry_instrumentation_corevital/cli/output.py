"""Output for programs: JSON and CSV."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import typer

from .._internal.file_io import written
from .._internal.printable import json_printable
from .._internal.user_error import UserError
from ..store.flat_rows import write_csv_rows
from .printing import echo


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    echo(escaped(json.dumps(value, ensure_ascii=False, indent=2), sys.stdout))


def escaped(text: str, file: IO[str]) -> str:
    r"""Return JSON with `\uXXXX` for what cannot be shown or a file's encoding lacks: nothing of it is lost."""
    text = json_printable(text)
    try:
        text.encode(getattr(file, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    return text


def one_format(*, as_json: bool, as_csv: bool) -> None:
    """Refuse both at once.

    Raises:
        UserError: if both are asked for.
    """
    if as_json and as_csv:
        raise UserError("--json and --csv do not go together.")


class _Read:
    """Standard output as long as somebody reads it: what comes could be gigabytes."""

    def write(self, text: str) -> int:
        if getattr(sys.stdout, "reader_is_gone", False):
            raise typer.Exit
        return sys.stdout.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


@contextmanager
def whole_file(out: Path | None, option: str = "--out") -> Iterator[IO[str]]:
    """Open a file that takes the place of the one wanted once it is whole; without one, standard output.

    Raises:
        UserError: if it cannot be written; it names the option.
        typer.Exit: at a write to standard output that nobody reads any more.
    """
    if out is None:
        yield cast("IO[str]", _Read())
        return
    with _told(out, option), written(out) as file:
        text = TextIOWrapper(cast("BinaryIO", file), encoding="utf-8", errors="replace", newline="")
        try:
            yield text
            text.flush()
        finally:
            text.detach()


def write_bytes(data: bytes, out: Path, option: str = "--out") -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: if it cannot be written; it names the option.
    """
    with _told(out, option), written(out) as file:
        file.write(data)


@contextmanager
def _told(out: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{option} {out}: cannot be written ({error.strerror or error}).") from None


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], file: IO[str] | None = None) -> int:
    """Write rows as CSV (RFC 4180, but with the system's line ends) and return how many; None becomes nothing."""
    return write_csv_rows(rows, columns, file or sys.stdout, head=True)
