"""Writing reports (JSON of schema 0.4.0 and more), one file a run."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..store import RunSource, RunSummary, StoreError
from .errors import UserError
from .output import escaped, whole_file


def report_text(store: RunSource, run: RunSummary, *, pretty: bool) -> str:
    """Return a run's report as JSON: on one line, or indented.

    Raises:
        StoreError: if the run cannot be read.
    """
    from ..legacy.report import report_of

    try:
        report = report_of(store.load(run))
    except ValueError as error:
        raise StoreError(f"{store.name}: the data of run {run.trace_id} are damaged: {error}.") from None
    return json.dumps(report, ensure_ascii=False, indent=2 if pretty else None) + "\n"


def report_folder(folder: Path) -> None:
    """Make the folder that reports go into.

    Raises:
        UserError: if there can be none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made a folder ({error.strerror}).") from None


def write_reports(store: RunSource, runs: Iterable[RunSummary], folder: Path, *, pretty: bool) -> list[Path]:
    """Write one report a run, by names that `migrate` finds; return the files.

    Raises:
        UserError: if a file cannot be written.
        StoreError: if a run cannot be read.
    """
    report_folder(folder)
    written = []
    for run in runs:
        index = f"_{run.sequence_index}" if run.operation is None else ""
        path = folder / f"trace_{run.trace_id}_{run.span_id[:8]}{index}.json"
        with whole_file(path) as file:
            file.write(escaped(report_text(store, run, pretty=pretty), file))
        written.append(path)
    return written
