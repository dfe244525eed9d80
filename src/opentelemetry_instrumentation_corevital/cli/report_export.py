"""Writing reports (JSON of schema 0.4.0 and more), one file a run."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..store import RunSource, RunSummary, StoreError
from ..store.checked_attributes import is_id
from .output import escaped, whole_file
from .printing import tell_damage


def report_text(store: RunSource, run: RunSummary, *, pretty: bool) -> Iterator[str]:
    """Return a run's report as JSON, on one line or indented, in pieces: a long run's would be hundreds of megabytes.

    Raises:
        StoreError: if the run cannot be read; before there is any piece.
    """
    from ..legacy.report import report_and_steps
    from ..legacy.report_text import report_pieces

    loaded = store.load(run)
    try:
        report, steps = report_and_steps(loaded)
    except ValueError as error:
        raise StoreError(f"{store.name}: the data of run {one_line(run.trace_id)} are damaged: {error}.") from None
    tell_damage([(run.trace_id, loaded.damage)])
    return report_pieces(report, steps, pretty=pretty)


def report_folder(folder: Path) -> None:
    """Make the folder that reports go into.

    Raises:
        UserError: if there can be none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made a folder ({error.strerror}).") from None


def reports_in_pieces(
    store: RunSource, runs: Iterable[RunSummary], problems: list[str], *, pretty: bool
) -> Iterator[Iterator[str]]:
    """Yield the reports of runs, each in pieces; those that cannot be made are left out, and named in `problems`."""
    for _, text in _reports(store, runs, problems, pretty=pretty):
        yield text


def _reports(
    store: RunSource, runs: Iterable[RunSummary], problems: list[str], *, pretty: bool
) -> Iterator[tuple[RunSummary, Iterator[str]]]:
    for run in runs:
        try:
            text = report_text(store, run, pretty=pretty)
        except StoreError as error:
            problems.append(f"{str(error).removesuffix('.')}; it is left out")
        else:
            yield run, text


def write_reports(
    store: RunSource, runs: Iterable[RunSummary], folder: Path, problems: list[str] | None = None, *, pretty: bool
) -> list[Path]:
    """Write one report a run, by names that `migrate` finds; return the files.

    Args:
        store: the source of the runs.
        runs: of it.
        folder: where to; made if there is none.
        problems: gets a sentence for each run whose report cannot be made; None: the first one ends it.
        pretty: whether they are indented.

    Raises:
        UserError: if a file cannot be written.
        StoreError: if a run cannot be read.
    """
    report_folder(folder)
    written, left_out = list[Path](), list[str]() if problems is None else problems
    for run, text in _reports(store, runs, left_out, pretty=pretty):
        if not (is_id(run.trace_id, 32) and is_id(run.span_id, 16)):  # never a path that a store's row chooses
            left_out.append(f"run {one_line(run.trace_id)}: its id is none; it is left out")
            continue
        index = f"_{run.sequence_index}" if run.operation is None else ""
        path = folder / f"trace_{run.trace_id}_{run.span_id[:8]}{index}.json"
        with whole_file(path) as file:
            for piece in text:
                file.write(escaped(piece, file))
        written.append(path)
    if problems is None and left_out:
        raise StoreError(left_out[0])
    return written
