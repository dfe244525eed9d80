"""`corevital db backup` and `corevital db restore`."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .._internal.byte_size import byte_size
from .._internal.user_error import UserError
from ..store import StoreError
from ..store.backup import Backup, back_up
from ..store.backup import restore as restore_file
from ..store.database import open_for_reading, store_path
from ..store.maintenance import stats
from .asking import confirm
from .help import Command
from .options import AsJson, Database, Yes, database_file
from .output import print_json
from .printing import echo

To = Annotated[str, typer.Argument(metavar="TO", help="The file that is written, such as backups/monday.db.")]
From = Annotated[str, typer.Argument(metavar="BACKUP", help="A file that `corevital db backup` wrote.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")]


def add_backup_commands(db: typer.Typer) -> None:
    """Add both to the group `db`."""
    db.command(cls=Command)(backup)
    db.command(cls=Command)(restore)


def backup(to: To, path: Database = None, overwrite: Overwrite = False, as_json: AsJson = False) -> None:
    """Copy the store into another file, whole and checked, while programs go on writing to it.

    Example: corevital db backup backups/monday.db
    """
    made = back_up(database_file(path), _named(to, "TO"), overwrite=overwrite)
    _tell(made, as_json=as_json)


def restore(backup: From, path: Database = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Put a backup in the place of the store. What was stored since then is gone; it asks first.

    Programs that write to the store meanwhile go on with what is restored.

    Example: corevital db restore backups/monday.db --yes
    """
    source, file = _named(backup, "BACKUP"), database_file(path)
    if not os.path.exists(source):
        raise UserError(f"{source}: there is no such file.")
    open_for_reading(source, any_version=True).close()  # before it asks
    if not yes and os.path.exists(file) and (count := _runs(file)):
        confirm(f"replace what is in {file} ({count} run{'s' * (count > 1)}) by {source}")
    _tell(restore_file(source, file), as_json=as_json)


def _named(path: str, argument: str) -> Path:
    try:
        return store_path(path)
    except StoreError as error:
        raise UserError(f"{argument} {error}") from None


def _runs(file: str) -> int:
    """Return how many runs a store has; 1 where that cannot be read, since something is there."""
    try:
        return stats(file).rows["runs"]
    except StoreError:
        return 1


def _tell(made: Backup, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(made), "path": str(made.path)})
    else:
        echo(f"{made.path}: {made.runs} run{'s' * (made.runs != 1)}, {byte_size(made.bytes)}, checked")
