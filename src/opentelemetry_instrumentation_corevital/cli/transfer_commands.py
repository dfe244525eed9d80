"""`corevital export`, `import` and `migrate`: runs out of the store and into it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .._internal.user_error import UserError
from ..config import load_settings
from ..store import RunFilter, RunList, RunSource, RunSummary, StoreError, StoreWriter, open_store
from ..store.filters import ANY_RUN
from ..store.flat_rows import run_rows
from ..store.maintenance import upgrade
from ..store.stored_run import COLUMNS
from .options import AsJson, Database, RunIds, database, database_file, with_stored_model
from .output import escaped, print_json, whole_file, write_bytes, write_csv
from .printing import echo, named_damage, tell_damage
from .report_export import report_text, reports_in_pieces, write_reports
from .run_conditions import choosing_runs

if TYPE_CHECKING:
    from ..store.record_group import RecordGroup

_BATCH: Final = 512
_BATCH_BYTES: Final = 8 * 1024**2
"""Lines that one transaction stores: their number, and the bytes of their records."""
_IMPORT_BYTES: Final = 2 * 1024**3
"""Bytes that may wait for the file: a line is stored whole, and is in memory anyway."""
_MOST_TOLD: Final = 20


class Format(StrEnum):
    """What `export` writes."""

    REPORT = "report"
    OTLP = "otlp"
    CSV = "csv"
    PARQUET = "parquet"


FormatName = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="report: JSON of schema 0.4.0 and more; otlp: JSON lines with all spans, logs and run data; "
        "csv, parquet: one row per run.",
    ),
]
OutFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File; of reports of several runs a folder; default: standard output."),
]
MostRuns = Annotated[int | None, typer.Option(min=1, help="How many runs at most; default: all.")]
Pretty = Annotated[bool, typer.Option("--pretty", help="Indent reports.")]


@choosing_runs
def export(
    *,
    run_ids: RunIds = None,
    format_: FormatName = Format.REPORT,
    out: OutFile = None,
    db: Database = None,
    limit: MostRuns = None,
    wanted: RunFilter,
    pretty: Pretty = False,
) -> None:
    """Write runs in a format that other programs read: those named, those that the filters find, or all.

    Example: corevital export last --format report --out report.json
    """
    filtered = wanted != ANY_RUN
    if run_ids and (filtered or limit is not None):
        raise UserError("Name runs or filter them, not both.")
    if pretty and format_ is not Format.REPORT:
        raise UserError(f"--pretty indents reports, so it does not go with --format {format_}.")
    everything = not run_ids and not filtered and limit is None
    with open_store(database(db)) as store:
        found = _named(store, run_ids) if run_ids else store.runs(with_stored_model(store, wanted), limit=limit)
        if not found and not (format_ is Format.OTLP and not filtered):
            raise UserError("No run matches.")
        count, problems = _write(store, found, _ExportFile(format_, out, pretty), everything=everything)
    _tell(problems)
    if out is not None:
        echo(f"{_plural(count, 'message' if format_ is Format.OTLP else 'run')} written to {out}", err=True)
    if problems:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _ExportFile:
    """What runs are written as, and where to."""

    format: Format
    out: Path | None
    """A file, or a folder for reports of several runs; None: standard output."""
    pretty: bool


def _write(store: RunSource, runs: RunList, target: _ExportFile, *, everything: bool) -> tuple[int, list[str]]:
    """Write runs; return how many runs or messages there are, and what could not be written.

    Args:
        store: their source.
        runs: the runs.
        target: the format and the place.
        everything: whether these are all runs of the store, whose other spans and logs then go along, too.
    """
    problems = list[str]()
    if target.format is Format.REPORT:
        return _reports(store, runs, target.out, problems, pretty=target.pretty), problems
    if target.format is Format.OTLP:
        return _otlp(store, None if everything else runs, target.out, problems), problems
    if target.format is Format.CSV:
        with whole_file(target.out) as file:
            count = write_csv(run_rows(runs), COLUMNS, file)
    else:
        count = _parquet(runs, target.out)
    tell_damage(named_damage(runs))
    return count, problems


def _named(store: RunSource, names: Iterable[str]) -> RunList:
    return RunList(dict.fromkeys(run for name in names for run in store.call(name) if _fits(name, run)))


def _fits(name: str, run: RunSummary) -> bool:
    _, _, index = name.partition(":")
    return not index or run.sequence_index == int(index)


def _reports(store: RunSource, runs: list[RunSummary], out: Path | None, problems: list[str], *, pretty: bool) -> int:
    """Write reports and return how many; one that cannot be made is a problem and no reason to leave out others."""
    if out is not None and len(runs) > 1:
        return len(write_reports(store, runs, out, problems, pretty=pretty))
    if len(runs) == 1:
        text = report_text(store, runs[0], pretty=pretty)  # before a file is made
        with whole_file(out) as file:
            for piece in text:
                file.write(escaped(piece, file))
        return 1
    count = 0
    with whole_file(out) as file:
        for text in reports_in_pieces(store, runs, problems, pretty=pretty):  # one a line, unless they are indented
            for piece in text:
                file.write(escaped(piece, file))
            count += 1
    return count


def _otlp(store: RunSource, runs: list[RunSummary] | None, out: Path | None, problems: list[str]) -> int:
    from ..store.otlp_json import to_line

    count = 0
    with whole_file(out) as file:
        for message in store.otlp(None if runs is None else [run.trace_id for run in runs], problems):
            file.write(escaped(to_line(message), file) + "\n")
            count += 1
    return count


def _parquet(runs: RunList, out: Path | None) -> int:
    if out is None:
        raise UserError("--format parquet needs --out FILE.")
    try:
        import pyarrow  # noqa: F401

        frame = runs.to_pandas()
    except ImportError:
        raise UserError(
            "--format parquet needs pandas and pyarrow: pip install 'opentelemetry-instrumentation-corevital[pandas]'"
        ) from None
    packed = BytesIO()
    frame.to_parquet(packed, index=False)
    write_bytes(packed.getvalue(), out)
    return len(runs)


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="OTLP as JSON lines, or gzip of it; - for stdin.")],
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Store what the Collector's file exporter, or `export --format otlp`, has written. A second time changes nothing.

    Each line is stored whole or not at all. A line that is broken is named and left out; the exit code is then 1.

    Example: corevital import telemetry.json --db runs/corevital.db
    """
    writer = StoreWriter(database_file(db), synchronous="FULL", queue_bytes=_IMPORT_BYTES)
    before = _runs_in(writer.path)
    stored, problems = 0, list[str]()
    try:
        for lines in _batches(files):
            stored += _store(writer, lines, problems)
    finally:
        writer.close()
    new = _runs_in(writer.path) - before
    if as_json:
        print_json({"stored": stored, "new_runs": new, "problems": problems})
    else:
        _tell(problems)
        told = f", {_plural(len(problems), 'problem')}" if problems else ""
        echo(f"{_plural(stored, 'record')} stored in {writer.path}, {_plural(new, 'new run')}{told}")
    if problems:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _ImportedLine:
    """A line of a file that is imported: its records, and what is wrong with it."""

    where: str
    records: "RecordGroup"
    problems: list[str]


def _batches(files: list[str]) -> Iterator[list[_ImportedLine]]:
    """Yield the lines of files, as many at a time as one transaction takes; those before an error of reading, too."""
    from ..store.otlp_json import read_lines, split
    from ..store.record_group import RecordGroup

    batch, size = list[_ImportedLine](), 0
    try:
        for name in files:
            for line in read_lines(name):
                records, lost = split(line.records)
                problems = [line.problem] if line.problem else [each.reason for each in lost]
                batch.append(_ImportedLine(f"{name}:{line.number}", RecordGroup(records), problems))
                size += batch[-1].records.bytes
                if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
    except StoreError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _store(writer: StoreWriter, lines: list[_ImportedLine], problems: list[str]) -> int:
    """Store lines in one transaction, each whole or not at all; return how many records are stored.

    Raises:
        UserError: if the file takes none of them.
    """
    whole = [line.records for line in lines if line.records.records]
    receipt = writer.store(whole, timeout=120)
    if receipt.failed_records or not receipt.complete:
        reason = "; ".join(receipt.reasons) or f"{writer.path}: did not answer in time."
        raise UserError(f"{lines[0].where}: nothing is stored from this line on; import again then. {reason}")
    for line in lines:
        problems += [f"{line.where}: {reason}" for reason in line.problems]
        problems += [f"{line.where}: {each.reason}" for each in line.records.lost]
    return sum(len(each.records) - sum(lost.records for lost in each.lost) for each in whole)


def _runs_in(path: Path) -> int:
    """Return how many runs a store holds, 0 where there is none yet."""
    if not path.exists():
        return 0
    upgrade(path)
    with open_store(path) as store:
        return sum(store.models().values())


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def migrate(
    from_dir: Annotated[Path, typer.Option(help="Folder with trace_*.json files and databases; those below it, too.")],
    to_db: Annotated[str | None, typer.Option(help="The store; default as that of `runs`.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, write nothing.")] = False,
    with_content: Annotated[
        bool, typer.Option("--with-content", help="Keep prompts, answers, tokens and documents, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Move runs of the first CoreVital (report schemas 0.3.0 and 0.4.0) into the store. A second time adds nothing.

    Example: corevital migrate --from-dir old-runs --to-db runs/corevital.db
    """
    from ..legacy.report_migration import Outcome
    from ..legacy.report_migration import migrate as move

    target, outcome = Path(database_file(to_db, "--to-db")), Outcome()
    for outcome in move(from_dir, target, load_settings(), content=with_content, dry_run=dry_run):  # noqa: B007
        pass
    if as_json:
        skipped: list[dict[str, Any]] = [{"where": where, "reason": why} for where, why in outcome.skipped]
        counts = {"migrated": outcome.migrated, "already_there": outcome.already_there}
        print_json({"dry_run": dry_run, **counts, "skipped": skipped})
        return
    _tell([f"skipped {where}: {why}" for where, why in outcome.skipped])
    done = "would be migrated" if dry_run else f"migrated to {target}"
    echo(f"{outcome.migrated} {done}, {outcome.already_there} were there already, {len(outcome.skipped)} skipped")


def _tell(problems: list[str]) -> None:
    for problem in problems[:_MOST_TOLD]:
        echo(problem, err=True)
    if len(problems) > _MOST_TOLD:
        echo(f"... and {len(problems) - _MOST_TOLD} more; --json lists all", err=True)
