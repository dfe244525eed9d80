"""Where `corevital run` puts a run: the store, reports as JSON files, or both."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from .._internal.user_error import UserError
from ..store import open_store
from ..store.database import check_place
from ..store.store_paths import RUNS_FILE, RUNS_FOLDER, RUNS_PATH
from .options import database_file
from .report_export import report_folder, write_reports

DEFAULT_FOLDER: Final = RUNS_FOLDER
DEFAULT_DATABASE: Final = RUNS_PATH


class SinkKind(StrEnum):
    """What `--sink` takes."""

    SQLITE = "sqlite"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Sink:
    """Where runs go."""

    database: str | None
    """The store's file; None: no store."""
    reports: Path | None = None
    """The folder of the reports; None: no reports."""
    pretty: bool = False
    """Whether reports are indented."""

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Fail before the model is loaded if nothing could be written; leave nothing behind if the block fails.

        Raises:
            StoreError: for the store.
            UserError: for the folder.
        """
        if self.database is not None:
            check_place(self.database)
        made: list[Path] = []
        if self.reports is not None:
            made = [each for each in (self.reports, *self.reports.parents) if not os.path.lexists(each)]
            report_folder(self.reports)
            if not os.access(self.reports, os.W_OK | os.X_OK):
                raise UserError(f"--out {self.reports}: the folder cannot be written to.")
        try:
            yield
        except BaseException:
            for folder in made:
                with suppress(OSError):  # which is not empty by now
                    folder.rmdir()
            raise

    @contextmanager
    def recording(self) -> Iterator[str | None]:
        """Yield the file to record into: reports without a store come out of one that is gone afterwards."""
        if self.database is not None or self.reports is None:
            yield self.database
            return
        with tempfile.TemporaryDirectory(prefix="corevital-") as folder:
            yield str(Path(folder, RUNS_FILE))

    def write(self, recorded: str | None, trace_ids: Sequence[str]) -> list[Path]:
        """Write the reports of the calls that were recorded, if any are wanted; return the files.

        Raises:
            UserError: if one cannot be written.
            StoreError: if a run cannot be read.
        """
        if self.reports is None or recorded is None:
            return []
        with open_store(recorded) as store:
            runs = [run for trace_id in dict.fromkeys(trace_ids) for run in store.call(trace_id)]
            return write_reports(store, runs, self.reports, pretty=self.pretty)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOptions:
    """What the options of `run` say of where it goes."""

    kind: SinkKind | None
    """`--sink`; None: sqlite."""
    store: bool
    """Not `--no-store`."""
    db: str | None
    """`--db`."""
    out: Path | None
    """`--out`."""
    write_json: bool
    json_pretty: bool
    content: bool
    """`--store-content`."""


def sink_of(wanted: SinkOptions, setting: str | None) -> Sink:
    """Return what the options of `run` ask for.

    Args:
        wanted: the options.
        setting: the setting `sqlite_path`.

    Raises:
        UserError: for options that do not go together, or a `--db` that is no file.
    """
    db, out = None if wanted.db is None else database_file(wanted.db), wanted.out
    local = wanted.kind is SinkKind.LOCAL
    reports = local or wanted.write_json
    given = {
        "--sink": wanted.kind is not None,
        "--write-json": wanted.write_json,
        "--out": out is not None,
        "--db": db is not None,
        "--store-content": wanted.content,
    }
    if not wanted.store and (named := [name for name, there in given.items() if there]):
        raise UserError(f"--no-store keeps nothing of the run, so {named[0]} does not go with it.")
    if local and db is not None:
        raise UserError("--db names the file of --sink sqlite; --sink local writes reports into --out.")
    if wanted.json_pretty and not reports:
        raise UserError("--json-pretty indents reports: ask for them with --sink local or --write-json.")
    if out is not None and db is not None and not reports:
        raise UserError("--db names the store already; --out is the folder of the reports of --write-json.")
    database = None
    if wanted.store and not local:
        in_folder = None if out is None else str(out / RUNS_FILE)
        database = db if db is not None else in_folder or setting or DEFAULT_DATABASE
    folder = (out or Path(DEFAULT_FOLDER)) if reports else None
    return Sink(database, folder, wanted.json_pretty)
