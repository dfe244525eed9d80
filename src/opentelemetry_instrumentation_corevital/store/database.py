"""Opening the store's file: schema, pragmas, and one clear sentence for everything that can be wrong with it."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from .._internal.file_io import kind_of
from .migrations import SCHEMA_VERSION, bring_up_to_date
from .store_error import StoreError
from .store_paths import expanded, why_no_file

APPLICATION_ID: Final = 0x43564954  # "CVIT": tells our file from any other SQLite file
BUSY_SECONDS: Final = 5.0
"""How long a statement waits for another process's transaction."""


class LockedError(StoreError):
    """Another connection holds the store's lock; a later try may succeed."""


class TimeLimitError(StoreError):
    """A query took longer than it may."""


def store_path(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path names, with the home folder for `~`.

    Raises:
        StoreError: if it names none, as `:memory:` and `file:x.db`.
    """
    problem = why_no_file(path)
    if problem is not None:
        raise StoreError(problem)
    return expanded(path)


def log_of(path: Path) -> Path:
    """Return the file's write-ahead log: SQLite keeps it beside the real file, not beside a link to it."""
    return Path(f"{os.path.realpath(path)}-wal")


def _refuse_odd(path: Path) -> None:
    # SQLite would wait for somebody to write into a pipe, and call every other kind a file that it cannot open.
    if kind := kind_of(path):
        raise StoreError(f"{path}: is {kind}; choose another path.")


def open_database(
    path: str | os.PathLike[str], *, synchronous: str = "NORMAL", busy_seconds: float | None = None
) -> sqlite3.Connection:
    """Open the store for writing, creating the file, its folder and its tables where they are missing.

    A file of an older version is brought to the newest one, in one transaction.

    Args:
        path: the file.
        synchronous: `NORMAL` survives the process, not a power cut; `FULL` both.
        busy_seconds: how long a statement waits for another process's transaction; None: `BUSY_SECONDS`.

    Returns:
        a connection that any thread may use, one at a time, in autocommit mode.

    Raises:
        StoreError: if the file cannot be opened or is not a store.
    """
    path = store_path(path)
    _refuse_odd(path)
    patience = BUSY_SECONDS if busy_seconds is None else busy_seconds
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: its folder cannot be made ({error.strerror}); choose another path.") from None
    connection = None
    try:
        # From a folder: SQLite, as some systems build it, takes a name that begins with `file:` for a URI.
        name = os.path.join(os.curdir, path)
        connection = sqlite3.connect(name, timeout=patience, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is written over, here and in the log
        _check_or_create(connection, path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise explain(error, path) from None
    except StoreError:
        if connection is not None:
            connection.close()
        raise
    return connection


def check_place(path: str | os.PathLike[str]) -> None:
    """Say what is wrong with a store's place before anything is stored there, and make nothing.

    Raises:
        StoreError: if the file, or its folder where there is none yet, cannot be written.
    """
    path = store_path(path)
    try:
        os.lstat(path)
    except FileNotFoundError:
        _check_folder(path.parent, path)
    except NotADirectoryError:
        raise StoreError(f"{path}: its folder cannot be made (File exists); choose another path.") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened ({error.strerror}); choose another path.") from None
    else:
        open_database(path).close()


def _check_folder(folder: Path, path: Path) -> None:
    while not os.path.lexists(folder):
        folder = folder.parent
    if not os.path.isdir(folder):
        raise StoreError(f"{path}: its folder cannot be made (File exists); choose another path.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{path}: the folder {folder} cannot be written to; choose another path.")


def open_for_reading(path: str | os.PathLike[str], *, any_version: bool = False) -> sqlite3.Connection:
    """Open an existing store for reading only. Any thread may use the connection, one at a time.

    Args:
        path: the file.
        any_version: also one of an older version, whose tables lack something.

    Raises:
        StoreError: if there is no such file, or it is not a store, or one of an older version.
    """
    path = store_path(path)
    if not os.path.exists(path):  # Path.exists raises where a folder on the way may not be entered
        raise StoreError(
            f"{path}: there is no such file; the first run that is stored there makes it.",
            command="`corevital run` makes one, --db names another.",
        )
    _refuse_odd(path)
    try:
        return _open_read_only(path, "mode=ro", any_version)
    except sqlite3.Error as error:
        # Even to read a WAL database SQLite writes a file beside it. In a folder where it may not, and where no log
        # waits to be read, the file is read as one that nobody changes.
        log = log_of(path)
        may_write = os.access(log.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
        if not may_write and not (os.path.exists(log) and log.stat().st_size):
            try:
                return _open_read_only(path, "mode=ro&immutable=1", any_version)
            except sqlite3.Error:
                pass
        raise explain(error, path) from None


def _open_read_only(path: Path, options: str, any_version: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{options}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
    )
    connection.text_factory = _text  # one text that is no UTF-8 would be an error of every list that has it
    try:
        _check_version(connection, path)
        version = _version(connection)
        if version < SCHEMA_VERSION and not any_version:
            raise StoreError(
                f"{path}: was written by an older CoreVital (schema {version}, this one reads {SCHEMA_VERSION}); "
                f"`corevital db upgrade --db {path}` brings it up to date."
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _text(stored: bytes) -> str:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored.decode("utf-8", "replace")


def _check_or_create(connection: sqlite3.Connection, path: Path) -> None:
    _refuse_foreign(connection, path)  # before anything is written into somebody else's file
    if _version(connection) < SCHEMA_VERSION:
        connection.execute("PRAGMA journal_mode = WAL")
        # Two processes may come here at once: the second finds the tables when it gets the lock.
        connection.execute("BEGIN IMMEDIATE")
        try:
            _refuse_foreign(connection, path)
            bring_up_to_date(connection, _version(connection))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
    _check_version(connection, path)
    check_writable(connection)


def check_writable(connection: sqlite3.Connection) -> None:
    """Raise what a write would raise, so that a read-only or locked file is told before the first run and not after."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA user_version = {_version(connection)}")
    finally:
        roll_back(connection)


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the open transaction, if SQLite has not done so itself, as it does on a full disk."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    # The version is read after the tables: another process may have made the store between two earlier reads.
    if _version(connection) > 0:
        _check_version(connection, path)
    elif tables:
        raise StoreError(f"{path}: is an SQLite file of something else; choose another path.")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    identity = int(connection.execute("PRAGMA application_id").fetchone()[0])
    version = _version(connection)
    if identity != APPLICATION_ID:
        raise StoreError(f"{path}: is an SQLite file of something else; choose another path.")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: was written by a newer CoreVital (schema {version}, this one knows {SCHEMA_VERSION}); "
            "upgrade opentelemetry-instrumentation-corevital."
        )


_ADVICE: Final = {
    "READONLY": "is read-only; make it writable or choose another path.",
    "FULL": "there is no space left for it; free some or choose another path.",
    "NOTADB": "is not an SQLite database; move it away or choose another path.",
    "CORRUPT": "is a damaged database; move it away or choose another path.",
    "IOERR": "cannot be read or written (I/O error); look at the disk and its free space or choose another path.",
}
"""SQLite's primary error code -> what it means for a user."""


def explain(error: sqlite3.Error, path: str | Path) -> StoreError:
    """Return a StoreError that says what an SQLite error means for a user."""
    code = str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_").partition("_")[0]
    if code in ("BUSY", "LOCKED"):
        return LockedError(f"{path}: is locked by another program; close it or choose another path.")
    if code == "INTERRUPT":
        return TimeLimitError(f"{path}: a query took too long; ask for fewer runs, such as those of the last days.")
    if code == "CANTOPEN":
        return StoreError(f"{path}: {_why_not_opened(Path(path))}; choose another path.")
    return StoreError(f"{path}: {_ADVICE.get(code, f'{error}.')}")


def _why_not_opened(path: Path) -> str:
    if kind := kind_of(path):
        return f"is {kind}"
    if os.path.islink(path) and not os.path.exists(os.path.dirname(os.path.realpath(path))):
        return f"is a link into a folder that is not there, {os.path.realpath(path)}"
    return "cannot be opened (permissions?)"
