"""Changes that a person asks for: one transaction on an existing file, done when the call returns."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .database import explain, open_database, roll_back, store_path
from .store_error import StoreError


@contextmanager
def opened(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Open an existing store for writing; one of an older version is brought up to date.

    Raises:
        StoreError: if there is no such file, it is not a store, or it cannot be written.
    """
    path = store_path(path)
    if not os.path.exists(path):
        raise StoreError(f"{path}: there is no such file.", command="--db names another.")
    with closing(open_database(path, synchronous="FULL")) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise explain(error, path) from None


@contextmanager
def editing(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Open an existing store and a transaction in it, which is committed unless the block raises.

    Raises:
        StoreError: as `opened`.
    """
    with opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
