"""`corevital db`: looking after a store's file."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table

from .._internal.byte_size import byte_size
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..config import load_settings
from ..store import Retention, open_store
from ..store.maintenance import check as check_file
from ..store.maintenance import delete_call, empties, prune_store
from ..store.maintenance import stats as stats_of
from ..store.maintenance import upgrade as upgrade_file
from ..store.maintenance import vacuum as vacuum_file
from ..store.retention import Removed
from .asking import confirm
from .backup_commands import add_backup_commands
from .help import Command, CommandGroup
from .options import AsJson, Database, RunId, Yes, database_file
from .output import print_json
from .printing import console, echo

_MOST_NAME: Final = 100
_MOST_MODELS: Final = 100
DAMAGED = 4
"""Exit code of a file in which something is wrong."""

db = typer.Typer(cls=CommandGroup, help="Look after the store's file.", no_args_is_help=True)
add_backup_commands(db)


@db.command(cls=Command)
def check(path: Database = None, as_json: AsJson = False) -> None:
    """Look for damage; exit code 4 where there is some.

    Example: corevital db check
    """
    file = database_file(path)
    problems = check_file(file)
    if as_json:
        print_json({"path": file, "problems": problems})
    else:
        echo("\n".join(problems) if problems else f"{file}: all is well")
    if problems:
        raise typer.Exit(DAMAGED)


@db.command(cls=Command)
def stats(path: Database = None, as_json: AsJson = False) -> None:
    """Say what the store holds, and how large it is.

    Example: corevital db stats
    """
    file = database_file(path)
    found = stats_of(file)
    if as_json:
        print_json({"path": file, **asdict(found)})
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    runs = found.rows["runs"]
    table.add_row(
        "file", f"{file}, {byte_size(found.file_bytes)}, of which {byte_size(found.used_bytes)} hold something"
    )
    times = (found.first_ns, found.last_ns)
    span = " to ".join(time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1e9)) for at in times if at is not None)
    table.add_row("runs", f"{runs}{f', {span}' if runs else ''}")
    table.add_row(
        "steps", f"{found.steps}{f', {found.used_bytes / found.steps:.0f} bytes each' if found.steps else ''}"
    )
    table.add_row("run data", f"{found.rows['run_data']} runs, {byte_size(found.data_bytes)}")
    table.add_row("models", _models(found.models) or "none")
    table.add_row("rows", ", ".join(f"{name} {count}" for name, count in found.rows.items()))
    console().print(table)


@db.command(cls=Command)
def prune(
    days: Annotated[
        float | None, typer.Option(min=0, help="Remove what was stored more days ago; default: the setting, 30.")
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Remove the oldest beyond this size, e.g. 500MB or 2GiB.")
    ] = None,
    path: Database = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove old runs with all that belongs to them; labelled runs stay.

    Where no other run would stay it asks first.

    Example: corevital db prune --days 90 --dry-run
    """
    if days is None and max_bytes is None:
        days = load_settings().sqlite_retention_days
    retention = Retention(days, None if max_bytes is None else _bytes(max_bytes))
    if dry_run and yes:
        raise UserError("--yes does not go with --dry-run, which removes nothing.")
    file = database_file(path)
    if not (dry_run or yes) and (count := empties(file, retention)):
        confirm(f"remove every run without a label ({count}) from {file}")
    removed = prune_store(file, retention, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(removed)})
        return
    echo(f"{'would remove' if dry_run else 'removed'} {_counts(removed)}")
    if removed and not dry_run:
        echo("`corevital db vacuum` makes the file smaller", err=True)


@db.command(cls=Command)
def vacuum(path: Database = None) -> None:
    """Make the file as small as what it holds. Nobody else may write meanwhile.

    Example: corevital db vacuum
    """
    before, after = vacuum_file(database_file(path))
    echo(f"{byte_size(before)} before, {byte_size(after)} now")


@db.command(cls=Command)
def upgrade(path: Database = None) -> None:
    """Bring a file of an older version up to date.

    Example: corevital db upgrade --db runs/corevital.db
    """
    file = database_file(path)
    upgrade_file(file)
    echo(f"{file}: up to date")


@db.command(cls=Command)
def delete(run_id: RunId, path: Database = None, yes: Yes = False) -> None:
    """Delete every trace of a run: its spans, steps, run data, logs and label, written over in the file.

    A call with several sequences goes as a whole, since its span tells of all of them.

    Example: corevital db delete 0682cfe782b5 --yes
    """
    file = database_file(path)
    with open_store(file) as store:
        call = store.call(run_id)
    what = f"run {call[0].trace_id}" + (f" with its {len(call)} sequences" if len(call) > 1 else "")
    if ":" in run_id and len(call) > 1:
        raise UserError(
            f"{run_id}: one of {len(call)} sequences cannot go alone; name the call, {call[0].trace_id[:12]}."
        )
    if not yes:
        confirm(f"delete {what}")
    removed = delete_call(file, call[0].trace_id, [run.span_id for run in call])
    echo(f"deleted {what}: {_counts(removed)}")


def _models(models: Mapping[str, int]) -> str:
    shown = [f"{one_line(name, _MOST_NAME)} ({count})" for name, count in list(models.items())[:_MOST_MODELS]]
    more = [f"{len(models) - _MOST_MODELS} more; --json lists all"] if len(models) > _MOST_MODELS else []
    return ", ".join([*shown, *more])


def _counts(removed: Removed) -> str:
    told = ((count, name.replace("_", " ")) for name, count in asdict(removed).items() if count)
    return ", ".join(f"{count} {name.removesuffix('s') if count == 1 else name}" for count, name in told) or "nothing"


def _bytes(text: str) -> int:
    """Return the bytes that a size names.

    Raises:
        UserError: if it names none.
    """
    units = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
    number = text.strip().lower().rstrip("bgikm")
    unit = text.strip().lower()[len(number) :]
    try:
        size = int(float(number) * units[unit])
    except (ValueError, KeyError, OverflowError):
        size = -1
    if size < 0:
        raise UserError(f"--max-bytes {text}: give a size such as 500MB or 2GiB.")
    return size
