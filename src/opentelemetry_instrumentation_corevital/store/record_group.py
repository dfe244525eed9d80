"""Records that are stored together, or not at all."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from .common_rows import Lost, Record
from .file_connection import DATA_ERRORS

_SAVEPOINT: Final = "corevital_together"


class RecordGroup:
    """Several records as one: one transaction takes them all, but for those that no row can hold.

    Args:
        records: what is stored together.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.bytes = sum(record.bytes for record in records)
        self.lost: list[Lost] = []
        """What was left out when they were last written."""

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Write all of them inside an open transaction; return what else had to be given up.

        Raises:
            sqlite3.Error: if the file takes none.
        """
        self.lost = []
        others = list[Lost]()
        for record in self.records:
            connection.execute(f"SAVEPOINT {_SAVEPOINT}")
            try:
                losses = record.write(connection)
            except DATA_ERRORS as error:
                connection.execute(f"ROLLBACK TO {_SAVEPOINT}")
                losses = [Lost(1, f"a record could not be stored ({type(error).__name__}).")]
            connection.execute(f"RELEASE {_SAVEPOINT}")
            self.lost += [each for each in losses if each.own or not each.records]
            others += [each for each in losses if not each.own]
        return others
