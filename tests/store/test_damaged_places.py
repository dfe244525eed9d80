"""Lists go on past runs whose keys another program has damaged: none is hidden, none twice, and there is an end."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import Cursor, RunList, listed_runs, open_store
from tests.support.hostile_stores import fill

DAMAGES = (
    "start_ns = 'late'",
    "start_ns = x'00'",
    "start_ns = 1.5",
    "start_ns = -5",
    "sequence_index = 'x'",
    "sequence_index = -1",
    "span_id = ''",
    "trace_id = x'00ff'",
    "trace_id = 'zzz'",
    "trace_id = ''",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of 40 runs, every second one of the first 20 damaged."""
    path = tmp_path / "runs.db"
    fill(path, 40, ())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rows = connection.execute("SELECT trace_id FROM runs ORDER BY start_ns DESC").fetchall()
        for (trace_id,), damage in zip(rows[::2], DAMAGES, strict=False):
            connection.execute(f"UPDATE runs SET {damage} WHERE trace_id = ?", (trace_id,))
    return path


@pytest.mark.parametrize("size", [1, 2, 3, 7, 39, 40])
def test_pages_have_every_run_once(path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(path) as store:
        whole, found, after = store.page(limit=100).runs, RunList(), None
        assert len(whole) == 40
        for _ in range(41):
            page = store.page(limit=size, after=after)
            found += page.runs
            if page.next is None:
                break
            after = Cursor.parse(str(page.next))
        assert found == whole
        monkeypatch.setattr(listed_runs, "PAGE_RUNS", size)
        assert store.runs(limit=None) == whole
        assert store.runs(limit=size) == whole[:size]
