"""What a store forgets, and what it keeps."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import (
    Retention,
    SQLiteLogExporter,
    SQLiteSpanExporter,
    StoreWriter,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.maintenance import check, prune_store, stats
from opentelemetry_instrumentation_corevital.store.retention import DAY_NS, used_bytes
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label
from tests.support.logs_and_metrics import chunk_records, emitted, in_span, log
from tests.support.spans import make_spans, rows


def stored(path: Path, count: int, *, service: str = "tests", events: int = 2) -> None:
    """Store runs, each with a log record and run data."""
    spans, logs = SQLiteSpanExporter(path, retain=False), SQLiteLogExporter(path, retain=False)
    made = make_spans(count, events=events, service=service)
    spans.export(made)
    for span in made:
        assert span.context is not None
        context = in_span(span.context.trace_id, span.context.span_id)
        records = (log("hello", context=context), *chunk_records(b"x" * 2000, 900, context=context))
        logs.export(emitted(*records, service=service))
    logs.shutdown()
    spans.shutdown()


def age(path: Path, days: float, where: str = "1") -> None:
    """Make what is stored look older."""
    with closing(sqlite3.connect(path)) as connection:
        before = int(days * DAY_NS)
        connection.execute(f"UPDATE spans SET ingested_ns = ingested_ns - {before} WHERE {where}")
        keys = f"(trace_id, span_id) IN (SELECT trace_id, span_id FROM spans WHERE {where})"
        connection.execute(f"UPDATE logs SET ingested_ns = ingested_ns - {before} WHERE {keys}")
        connection.execute(f"UPDATE run_data SET received_ns = received_ns - {before} WHERE {keys}")
        connection.commit()


def counts(path: Path) -> dict[str, int]:
    return {t: rows(path, f"SELECT count(*) FROM {t}")[0][0] for t in ("runs", "span_events", "logs", "run_data")}


def test_what_is_too_old_goes_with_all_that_hangs_on_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    stored(path, 150, service="old")
    age(path, 31)
    stored(path, 3, service="new")
    removed = prune_store(path, Retention(days=30), dry_run=True)
    assert counts(path)["runs"] == 153
    assert prune_store(path, Retention(days=30)) == removed
    assert (removed.spans, removed.logs, removed.run_data) == (150, 150, 150)
    assert counts(path) == {"runs": 3, "span_events": 6, "logs": 3, "run_data": 3}
    assert rows(path, "SELECT service_name FROM resources") == [("new",)]
    assert check(path) == []
    assert not prune_store(path, Retention(days=30))


def test_labelled_runs_stay(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    stored(path, 5)
    with open_store(path) as store:
        kept = store.runs()[2]
    set_label(path, kept.trace_id, kept.span_id, "correct", "by hand")
    age(path, 400)
    prune_store(path, Retention(days=30))
    with open_store(path) as store:
        (run,) = store.runs()
        assert (run.trace_id, run.label) == (kept.trace_id, "correct")
        assert store.run_data(run) is not None
    assert counts(path)["logs"] == 1
    prune_store(path, Retention(bytes=1))
    assert counts(path)["runs"] == 1


def test_a_size_is_held_while_an_exporter_writes_and_the_newest_stay(tmp_path: Path) -> None:
    path, limit = tmp_path / "runs.db", 3 * 1024 * 1024
    writer = StoreWriter(path, retention=Retention(bytes=limit))
    for _ in range(60):
        assert writer.store([span_rows(span) for span in make_spans(10, events=90)]).durable
    writer.close()
    assert writer.dropped == 0
    with closing(sqlite3.connect(path)) as connection:
        assert used_bytes(connection) < 1.5 * limit
    assert path.stat().st_size < 2 * limit
    with open_store(path) as store:
        found = store.runs(limit=None)
        assert 0 < len(found) < 600
        assert max(run.start_ns for run in found) > time.time_ns() - 5 * 10**9
    assert check(path) == []


def test_the_exporter_prunes_by_its_settings_and_run_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    for setting, retain, left in ((None, True, 1), ("60", True, 3), (None, False, 3)):
        if setting:
            monkeypatch.setenv("OTEL_COREVITAL_SQLITE_RETENTION_DAYS", setting)
        else:
            monkeypatch.delenv("OTEL_COREVITAL_SQLITE_RETENTION_DAYS", raising=False)
        for leftover in tmp_path.iterdir():
            leftover.unlink()
        stored(path, 2)
        age(path, 40)
        exporter = SQLiteSpanExporter(path, retain=retain)
        exporter.export(make_spans())
        exporter.shutdown()
        assert exporter.last_error is None
        assert counts(path)["runs"] == left, (setting, retain)


def test_rows_of_an_older_writer_count_from_now(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    stored(path, 2)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE spans SET ingested_ns = NULL, end_ns = 5, start_ns = 4")
        connection.execute("UPDATE logs SET ingested_ns = NULL")
        connection.commit()
    assert not prune_store(path, Retention(days=30))
    assert counts(path)["runs"] == 2
    assert stats(path).rows["logs"] == 2
