"""A store behind a link, and what becomes of it when the file or the link is exchanged while a program writes."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import StoreWriter, open_store
from opentelemetry_instrumentation_corevital.store.maintenance import file_bytes
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from tests.support.spans import make_spans, rows


def put(writer: StoreWriter, count: int) -> None:
    receipt = writer.store([span_rows(span) for span in make_spans(count)], timeout=60)
    assert receipt.stored_records == count, receipt.reasons


def restore(real: Path) -> None:
    """Put a backup in the file's place, as a restore does: a file of seven runs that was whole and closed."""
    other = StoreWriter(real.with_name("backup.db"), synchronous="FULL")
    put(other, 7)
    other.close()
    real.with_name("backup.db").replace(real)


def repoint(real: Path) -> None:
    """Let the link name another file; the first stays with its log."""
    for link in (real.parent.parent / "link.db", real.parent.parent / "folder"):
        if link.is_symlink():
            link.unlink()
            target = real.parent.parent / "second"
            target.mkdir(exist_ok=True)
            link.symlink_to(target / real.name if link.name == "link.db" else target)


CHANGES: dict[str, Callable[[Path], object]] = {
    "deleted": os.unlink,
    "restored": restore,
    "rotated": lambda real: real.rename(real.with_name("store.db.1")),
}
NAMES = {"plain": "real/store.db", "link": "link.db", "folder": "folder/store.db"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "store.db")
    (tmp_path / "folder").symlink_to("real")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", CHANGES)
def test_no_log_is_played_into_another_file(place: Path, name: str, change: str) -> None:
    real = place / "real" / "store.db"
    writer = StoreWriter(place / NAMES[name], synchronous="FULL")
    put(writer, 20)
    CHANGES[change](real)
    put(writer, 5)
    writer.close()
    assert rows(real, "PRAGMA integrity_check") == [("ok",)]
    assert rows(real, "SELECT count(*) FROM runs") == [(12 if change == "restored" else 5,)]
    if change == "rotated":
        assert rows(real.with_name("store.db.1"), "SELECT count(*) FROM runs") == [(20,)]


@pytest.mark.parametrize("name", ["link", "folder"])
def test_a_link_that_leads_elsewhere_leaves_the_first_file_whole(place: Path, name: str) -> None:
    real = place / "real" / "store.db"
    writer = StoreWriter(place / NAMES[name], synchronous="FULL")
    put(writer, 20)
    with closing(sqlite3.connect(real)) as reader:  # keeps the log from being emptied as the writer leaves
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        repoint(real)
        put(writer, 5)
    writer.close()
    assert rows(real, "SELECT count(*) FROM runs") == [(20,)]
    assert rows(place / "second" / "store.db", "SELECT count(*) FROM runs") == [(5,)]


def test_a_program_that_changes_its_folder_writes_on_into_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    writer = StoreWriter("store.db")
    put(writer, 1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    put(writer, 1)
    writer.close()
    assert rows(tmp_path / "store.db", "SELECT count(*) FROM runs") == [(2,)]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_log_behind_a_link_counts(place: Path) -> None:
    writer = StoreWriter(place / "link.db")
    put(writer, 20)
    assert file_bytes(place / "link.db") == file_bytes(place / "real" / "store.db")
    with open_store(place / "link.db") as store:
        assert len(store.runs(limit=None)) == 20
    writer.close()
    shutil.rmtree(place / "real")
