"""Backups of a store that is written to, and the way back."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoreError
from opentelemetry_instrumentation_corevital.store.backup import back_up, restore
from opentelemetry_instrumentation_corevital.store.database import LockedError
from opentelemetry_instrumentation_corevital.store.maintenance import check, stats
from tests.support.spans import make_spans, rows
from tests.support.store_contents import TABLES, contents
from tests.support.store_versions import made_by

WRITER = """
import sys
from opentelemetry_instrumentation_corevital.store import StoreWriter
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from tests.support.spans import make_spans
writer = StoreWriter(sys.argv[1])
print("open", flush=True)
while True:
    receipt = writer.store([span_rows(span) for span in make_spans(20, events=30, service="writer")])
    assert receipt.stored_records == 20 and not writer.dropped, writer.last_error
    print("stored", flush=True)
    if sys.stdin.readline() != "more\\n":
        break
writer.close()
"""


class Writer:
    """A process that stores 20 runs each time it is asked to, with its file open all the time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.written = 0
        self._hear()
        self._hear()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the writer has failed"

    def more(self) -> None:
        assert self._process.stdin is not None
        print("more", file=self._process.stdin, flush=True)
        self._hear()


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], **pipes) as process:  # type: ignore[call-overload]
        yield Writer(process)
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three runs."""
    return filled(tmp_path / "runs.db", 3)


def filled(path: Path, runs: int) -> Path:
    exporter = SQLiteSpanExporter(str(path))
    exporter.export(make_spans(runs, events=10))
    exporter.shutdown()
    return path


def count(path: Path) -> int:
    return int(rows(path, "SELECT count(*) FROM runs")[0][0])


def test_a_backup_of_a_file_that_a_process_writes_to_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with writing(path) as writer:
        assert Path(f"{path}-wal").stat().st_size > 0, "what is stored is in the log still"
        made = back_up(path, tmp_path / "deep" / "first.db")
        writer.more()
        back_up(path, tmp_path / "second.db")
        writer.more()
    assert (made.runs, made.path) == (20, tmp_path / "deep" / "first.db")
    assert [count(tmp_path / name) for name in ("deep/first.db", "second.db", "runs.db")] == [20, 40, 60]
    for name in ("deep/first.db", "second.db"):
        assert check(tmp_path / name) == []
        spans = rows(tmp_path / name, "SELECT count(*), count(DISTINCT span_id) FROM span_events")
        assert spans == [(count(tmp_path / name) * 30, count(tmp_path / name))]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "runs.db", "second.db"]


@pytest.mark.acceptance
def test_nobody_who_writes_waits_for_a_backup(tmp_path: Path) -> None:
    """Ten backups, one after the other, while a process stores as fast as it can."""
    path = tmp_path / "runs.db"
    with writing(path) as writer:
        for turn in range(10):
            writer.more()
            back_up(path, tmp_path / "backup.db", overwrite=turn > 0)
            assert check(tmp_path / "backup.db") == []
    assert count(tmp_path / "backup.db") == count(path)


def test_a_writers_transaction_holds_up_no_backup(store: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        busy.execute("DELETE FROM runs")
        assert back_up(store, tmp_path / "backup.db").runs == 3
        busy.execute("ROLLBACK")


def test_what_is_restored_is_what_was_there(store: Path, tmp_path: Path) -> None:
    before = {table: contents(store, table) for table in TABLES}
    backup = tmp_path / "backup.db"
    back_up(store, backup)
    filled(store, 5)
    assert count(store) == 8
    assert restore(backup, store).runs == 3
    restore(backup, tmp_path / "elsewhere.db")
    for path in (store, tmp_path / "elsewhere.db"):
        assert {table: contents(path, table) for table in TABLES} == before
        assert check(path) == []
        assert rows(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_process_that_has_the_store_open_goes_on_with_what_is_restored(tmp_path: Path) -> None:
    path, backup = tmp_path / "runs.db", tmp_path / "backup.db"
    filled(path, 3)
    back_up(path, backup)
    with writing(path) as writer:
        assert count(path) == 23
        restore(backup, path)
        assert count(path) == 3
        writer.more()
        assert count(path) == 23
        assert rows(path, "SELECT DISTINCT service_name FROM runs ORDER BY 1")[-1] == ("writer",)
    assert check(path) == []


def test_an_older_store_is_copied_as_it_is_and_restored_up_to_date(tmp_path: Path) -> None:
    old = made_by(1, tmp_path)
    made = back_up(old, tmp_path / "backup.db")
    assert made.version == 1
    assert rows(old, "PRAGMA user_version") == rows(tmp_path / "backup.db", "PRAGMA user_version") == [(1,)]
    restore(tmp_path / "backup.db", tmp_path / "new.db")
    assert stats(tmp_path / "new.db").rows["runs"] == made.runs > 0
    assert rows(tmp_path / "backup.db", "PRAGMA user_version") == [(1,)]


def test_a_backup_is_for_the_same_eyes_as_the_store(store: Path, tmp_path: Path) -> None:
    store.chmod(0o640)
    back_up(store, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o640
    restore(tmp_path / "backup.db", tmp_path / "new.db")
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o640


def test_nothing_is_written_over_unless_it_is_asked_for(store: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    backup.write_text("mine")
    with pytest.raises(StoreError, match="is there already; nothing was written"):
        back_up(store, backup)
    assert backup.read_text() == "mine"
    back_up(store, backup, overwrite=True)
    assert count(backup) == 3
    with pytest.raises(StoreError, match="is the store itself"):
        back_up(store, tmp_path / ".." / tmp_path.name / "runs.db", overwrite=True)
    assert count(store) == 3


def damaged(path: Path) -> Path:
    page = path.read_bytes()
    path.write_bytes(page[:8192] + b"\xa5" * 8192 + page[16384:])
    return path


def test_a_damaged_store_makes_no_backup_and_replaces_none(store: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    back_up(store, backup)
    sound = backup.read_bytes()
    damaged(store)
    with pytest.raises(StoreError, match="damaged"):
        back_up(store, backup, overwrite=True)
    assert backup.read_bytes() == sound


def test_a_damaged_backup_replaces_no_store(store: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    back_up(store, backup)
    damaged(backup)
    with pytest.raises(StoreError, match="damaged"):
        restore(backup, store)
    assert count(store) == 3
    with pytest.raises(StoreError, match="damaged"):
        restore(backup, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_the_log_of_a_file_that_is_gone_spoils_no_restore(store: Path, tmp_path: Path) -> None:
    back_up(store, tmp_path / "backup.db")
    with closing(sqlite3.connect(store)) as open_still:
        open_still.execute("UPDATE runs SET model = 'other'")
        open_still.commit()
        os.rename(store, tmp_path / "moved.db")
        with pytest.raises(StoreError, match=r"runs\.db-wal, of a file that is no longer there; move it away, too"):
            restore(tmp_path / "backup.db", store)
        assert not store.exists()


def test_a_store_that_stays_locked_is_left_as_it_is(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(store, tmp_path / "backup.db")
    filled(store, 1)
    module = sys.modules[restore.__module__]
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    opens = module.open_database

    def and_locks(path: Path, **options: str) -> sqlite3.Connection:
        """Somebody begins to write once the restore has opened the store."""
        found: sqlite3.Connection = opens(path, **options)
        if path == store:
            busy.execute("BEGIN IMMEDIATE")
        return found

    monkeypatch.setattr(module, "open_database", and_locks)
    with closing(sqlite3.connect(store, isolation_level=None)) as busy:
        with pytest.raises(LockedError, match="is locked by another program"):
            restore(tmp_path / "backup.db", store)
        busy.execute("ROLLBACK")
    assert count(store) == 4


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_place_that_cannot_be_written(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        back_up(store, tmp_path / "file" / "backup.db")
    with pytest.raises(StoreError, match="is a folder"):
        back_up(store, tmp_path, overwrite=True)
    with pytest.raises(StoreError, match="no such file"):
        back_up(tmp_path / "none.db", tmp_path / "backup.db")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE x (y)")
    with pytest.raises(StoreError, match="SQLite file of something else"):
        back_up(other, tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()
