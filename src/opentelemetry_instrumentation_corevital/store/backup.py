"""Copies of a store's file that are whole although programs write to it meanwhile, and the way back."""

import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .._internal.file_io import kind_of
from .database import LockedError, explain, log_of, open_database, open_for_reading, store_path
from .store_error import StoreError

_PATIENCE: Final = 10.0
"""Seconds for which a restore waits for programs that hold the file's lock."""
_RETRY: Final = 0.1
_OF_THE_TARGET: Final = ("READONLY", "FULL", "CANTOPEN", "IOERR")


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied."""

    path: Path
    """The file that was written."""
    runs: int
    bytes: int
    version: int
    """Of the store that was copied."""


def back_up(path: str | Path, to: str | Path, *, overwrite: bool = False) -> Backup:
    """Copy a store into another file, as it was at one moment; nobody who writes to it waits.

    The copy is checked and on the disk before it takes its name. It has the mode of the store's file. A store of an
    older version is copied as it is.

    Args:
        path: the store's file.
        to: the new file; its folder is made where it is missing.
        overwrite: replace what is there.

    Raises:
        StoreError: if the store is damaged or cannot be read, or the copy cannot be written. Nothing new is left then.
    """
    source, target = store_path(path), store_path(to)
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise StoreError(f"{to}: is the store itself; name another file.")
    if os.path.lexists(target) and not overwrite:
        raise StoreError(f"{to}: is there already; nothing was written.", command="--overwrite replaces it.")
    if kind := kind_of(target):
        raise StoreError(f"{to}: is {kind}; name another file.")
    with closing(open_for_reading(source, any_version=True)) as connection, _part(target) as part:
        _copy(connection, part, target)
        found = _checked(part, path)
        os.chmod(part, stat.S_IMODE(source.stat().st_mode))
        _place(part, target, overwrite=overwrite)
    return Backup(target, found[0], target.stat().st_size, found[1])


def restore(backup: str | Path, path: str | Path) -> Backup:
    """Put a backup in the place of a store, in one transaction: programs that have it open go on with what it holds.

    A backup of an older version is brought up to date on the way; the file of the backup stays as it is.

    Args:
        backup: what `back_up` wrote.
        path: the store's file; a new one where there is none.

    Raises:
        StoreError: if the backup is damaged or is no store, or the store cannot be written. It is as it was then.
    """
    source, target = store_path(backup), store_path(path)
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise StoreError(f"{path}: is the backup itself; --db names the store.")
    if not os.path.exists(target):
        _refuse_leftovers(target)
    with closing(open_for_reading(source, any_version=True)) as connection, _part(target) as part:
        _copy(connection, part, target)
        runs, version = _checked(part, backup)
        open_database(part, synchronous="FULL").close()
        if os.path.exists(target):
            _replace_content(part, target)
        else:
            os.chmod(part, stat.S_IMODE(source.stat().st_mode))
            _place(part, target, overwrite=False)
    return Backup(target, runs, target.stat().st_size, version)


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """Give a folder's file beside the target, which goes again."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".corevital-", dir=target.parent)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written ({error.strerror}); choose another path.") from None
    with folder as name:
        yield Path(name) / "copy.db"


def _copy(source: sqlite3.Connection, part: Path, target: Path) -> None:
    try:
        with closing(sqlite3.connect(part)) as copy:
            source.backup(copy)  # one step: it reads one moment, and with a write-ahead log no writer waits for it
    except sqlite3.Error as error:
        raise explain(error, target if _code(error) in _OF_THE_TARGET else _file_of(source)) from None


def _code(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_").partition("_")[0]


def _file_of(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA database_list").fetchone()[2])


def _checked(part: Path, of: str | Path) -> tuple[int, int]:
    """Return how many runs a copy has and its version.

    Raises:
        StoreError: if it is damaged.
    """
    try:
        with closing(sqlite3.connect(part)) as copy:
            problems = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(1)")]
            if problems == ["ok"]:
                runs = int(copy.execute("SELECT count(*) FROM runs").fetchone()[0])
                return runs, int(copy.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        problems = [str(error)]
    raise StoreError(f"{of}: is damaged ({problems[0]}); nothing was written. An older backup may be sound.")


def _place(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give a finished copy its name; both it and its name are on the disk then."""
    try:
        _synchronise(part)
        if overwrite:
            os.replace(part, target)
            for log in _logs(target):  # of the file that was there: SQLite would take it for the new one's
                log.unlink(missing_ok=True)
        else:
            os.link(part, target)  # refuses a file that came meanwhile
        _synchronise(target.parent)
    except FileExistsError:
        raise StoreError(f"{target}: is there already; nothing was written.") from None
    except OSError as error:
        raise StoreError(f"{target}: cannot be written ({error.strerror}); choose another path.") from None


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _logs(target: Path) -> list[Path]:
    return [log_of(target), Path(f"{os.path.realpath(target)}-shm"), Path(f"{os.path.realpath(target)}-journal")]


def _refuse_leftovers(target: Path) -> None:
    """Refuse a place where a file's log is left: SQLite would play it over the file that comes there.

    Raises:
        StoreError: if there is one.
    """
    for log in _logs(target):
        if os.path.lexists(log):
            raise StoreError(
                f"{target}: beside it is {log.name}, of a file that is no longer there; move it away, too."
            )


def _replace_content(part: Path, target: Path) -> None:
    deadline = time.monotonic() + _PATIENCE

    def patient(status: int, _remaining: int, _total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise LockedError(f"{target}: is locked by another program; close it, then restore again.")

    with closing(open_database(target, synchronous="FULL")) as store:
        try:
            store.execute(f"PRAGMA busy_timeout = {round(1000 * _RETRY)}")  # `patient` counts the tries
            with closing(sqlite3.connect(part)) as copy:
                copy.backup(store, progress=patient, sleep=_RETRY)
            with suppress(sqlite3.Error):  # somebody reads: the log is moved into the file later
                store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise explain(error, target) from None
