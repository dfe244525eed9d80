"""The writer's connection to its file, which others may delete or replace meanwhile."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .database import explain, open_database, roll_back
from .store_paths import expanded, why_no_file

# What is wrong with the rows, not with the file. `common_rows` checks types; this is for what nobody thought of.
DATA_ERRORS: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)


class WatchedFile:
    """A store's file, opened with the first transaction. Used by one thread at a time.

    Args:
        path: the file, as it was named.
        synchronous: as `open_database` takes it.
        busy_seconds: how long a statement waits for another process's transaction.
    """

    def __init__(self, path: str | os.PathLike[str], synchronous: str, busy_seconds: float) -> None:
        self._named = path
        self._path = Path(os.path.abspath(expanded(path)))  # the same file wherever the program goes
        self._real = self._path
        """What the path led to when it was opened: there SQLite keeps its log, not beside a link."""
        self._synchronous = synchronous
        self._busy_seconds = busy_seconds
        self.connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None

    @property
    def _log(self) -> Path:
        return Path(f"{self._real}-wal")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction and commit it; roll back what raises.

        Raises:
            StoreError: for what is wrong with the file; `DATA_ERRORS` pass.
        """
        connection = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                roll_back(connection)
                raise
            self._log_identity = _identity(self._log)
        except DATA_ERRORS:
            raise
        except sqlite3.Error as error:
            self.close()  # a new connection finds out what a damaged or exchanged file is now
            raise explain(error, self._path) from None

    def _connect(self) -> sqlite3.Connection:
        """Return the connection, a new one if the file was deleted or replaced since."""
        if self.connection is not None and self._identity != _identity(self._path):
            with suppress(sqlite3.Error):
                # A file that was only renamed keeps what its log holds: SQLite does not see to that as it closes.
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self.close()
            # SQLite would play the old file's log into the new one. Where a link now leads elsewhere, the old file and
            # its log still belong together.
            exchanged = self._identity != _identity(self._real)
            if exchanged and self._log_identity is not None and self._log_identity == _identity(self._log):
                for leftover in (self._log, Path(f"{self._real}-shm")):
                    leftover.unlink(missing_ok=True)
        if self.connection is None:
            path = self._path if why_no_file(self._named) is None else self._named
            self.connection = open_database(path, busy_seconds=self._busy_seconds, synchronous=self._synchronous)
            self._real = Path(os.path.realpath(self._path))
            self._identity = _identity(self._path)
        return self.connection

    def close(self) -> None:
        """Close the connection; the next transaction opens another."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
