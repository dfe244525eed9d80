"""Three exporters, one writer: it opens with the first that stores and closes with the last that is shut down."""

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from opentelemetry_instrumentation_corevital.store import (
    SQLiteLogExporter,
    SQLiteMetricExporter,
    SQLiteSpanExporter,
    shared_writers,
)
from opentelemetry_instrumentation_corevital.store.writer import StoreWriter
from tests.support.logs_and_metrics import emitted, gauge, log
from tests.support.spans import make_spans, rows, run_code


def wal(path: Path) -> bool:
    """Whether the file is open: SQLite removes the log with the last connection."""
    return Path(f"{path}-wal").exists()


def threads() -> int:
    return sum(thread.name == "corevital-store" for thread in threading.enumerate())


def test_exporters_of_one_file_share_a_thread_and_the_last_closes_it(tmp_path: Path) -> None:
    path, before = tmp_path / "runs.db", threads()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    spans = SQLiteSpanExporter(path)
    logs = SQLiteLogExporter(str(tmp_path / "folder" / ".." / "runs.db"))
    metrics = SQLiteMetricExporter(tmp_path / "link" / "runs.db")
    other = SQLiteSpanExporter(tmp_path / "other.db")
    assert threads() == before
    for _ in range(2):
        spans.export(make_spans())
        logs.export(emitted(log()))
        metrics.export(gauge(1, time_ns=1))
    assert threads() == before + 1
    assert spans._writer() is logs._writer() is metrics._writer()
    other.export(make_spans())
    assert other._writer() is not spans._writer()
    other.shutdown()
    spans.shutdown()
    assert rows(path, "SELECT count(*) FROM spans") == [(2,)], "what was queued is written"
    logs.shutdown()
    logs.shutdown()  # again: it must not count for another
    assert wal(path)
    assert spans.export(make_spans()) is SpanExportResult.FAILURE
    metrics.export(gauge(2, time_ns=2))
    metrics.shutdown()
    assert not wal(path)
    assert threads() == before
    assert rows(path, "SELECT value FROM metric_points") == [(2.0,)]
    assert (spans.dropped, spans.last_error, metrics.last_error) == (0, None, None)


def test_an_exporter_made_after_the_last_shutdown_opens_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    for count in (1, 2):
        exporter = SQLiteSpanExporter(path)
        assert exporter.export(make_spans()) is SpanExportResult.SUCCESS
        exporter.shutdown()
        assert rows(path, "SELECT count(*) FROM spans") == [(count,)]
    assert not any(str(path) in key for key in shared_writers._users)


def test_a_forgotten_exporter_does_not_keep_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    forgotten, kept = SQLiteLogExporter(path), SQLiteSpanExporter(path)
    forgotten.export(emitted(log()))
    kept.export(make_spans())
    del forgotten
    gc.collect()
    kept.shutdown()
    assert not wal(path)
    assert rows(path, "SELECT count(*) FROM logs") == [(1,)]


def test_a_writer_is_made_with_the_first_exporter_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[StoreWriter] = []

    def make(path: str, **options: Any) -> StoreWriter:
        made.append(StoreWriter(path, **options))
        return made[-1]

    monkeypatch.setattr(shared_writers, "StoreWriter", make)
    exporters = [SQLiteSpanExporter(tmp_path / "runs.db") for _ in range(3)]
    for exporter in exporters:
        exporter.export(make_spans())
    for exporter in exporters:
        exporter.shutdown()
    assert len(made) == 1


def test_exporters_that_come_and_go_at_once_lose_nothing(tmp_path: Path) -> None:
    path, refused = tmp_path / "runs.db", []

    def work() -> None:
        for _ in range(8):
            exporter = SQLiteSpanExporter(path)
            if exporter.export(make_spans()) is not SpanExportResult.SUCCESS:
                refused.append(exporter)
            exporter.shutdown()
            if exporter.last_error is not None:
                refused.append(exporter)

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not refused
    assert rows(path, "SELECT count(*) FROM spans") == [(48,)]
    assert not wal(path)


def test_no_path_makes_an_exporter_raise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    for path in ("nul\0byte", str(tmp_path), tmp_path / "file" / "below.db", "x" * 5000):
        for exporter in (SQLiteSpanExporter(path), SQLiteLogExporter(path), SQLiteMetricExporter(path)):
            if isinstance(exporter, SQLiteSpanExporter):
                exporter.export(make_spans())
            elif isinstance(exporter, SQLiteLogExporter):
                exporter.export(emitted(log()))
            else:
                exporter.export(gauge(1, time_ns=1))
            exporter.force_flush()
            assert exporter.dropped == 1
            assert exporter.last_error is not None
            exporter.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_of_a_process_that_stores_everything_store_theirs(tmp_path: Path) -> None:
    code = """
        import os, sys, threading
        from opentelemetry_instrumentation_corevital.store import (
            SQLiteLogExporter, SQLiteMetricExporter, SQLiteSpanExporter, shared_writers)
        from tests.support.logs_and_metrics import emitted, log
        from tests.support.spans import make_spans
        from tests.support.logs_and_metrics import gauge
        path = sys.argv[1]
        exporters = spans, logs, metrics = [
            made(path) for made in (SQLiteSpanExporter, SQLiteLogExporter, SQLiteMetricExporter)]

        def store(who):
            spans.export(make_spans(service=who))
            logs.export(emitted(log(who)))
            metrics.export(gauge(1, time_ns=1, who=who))

        def busy():
            while not done.is_set():
                other = SQLiteSpanExporter(path)  # joins and leaves, under the lock that a fork needs
                other.export(ready)
                other.shutdown()

        store("parent")
        ready, done = make_spans(service="busy"), threading.Event()
        thread = threading.Thread(target=busy)
        thread.start()
        children = []
        for index in range(15):
            child = os.fork()
            if child == 0:
                store(f"child {index}")
                for exporter in exporters:
                    exporter.shutdown()
                ok = all(exporter.last_error is None and not exporter.dropped for exporter in exporters)
                os._exit(0 if ok else 1)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        done.set()
        thread.join()
        for exporter in exporters:
            exporter.shutdown()
        assert codes == [0] * 15, codes
        assert not shared_writers._users, shared_writers._users
    """
    path = tmp_path / "runs.db"
    found = run_code(code, str(path))
    assert found.returncode == 0, found.stderr
    everyone = sorted(["parent", *(f"child {index}" for index in range(15))])
    assert [name for (name,) in rows(path, "SELECT service_name FROM runs ORDER BY 1") if name != "busy"] == everyone
    assert rows(path, "SELECT body FROM logs ORDER BY 1") == [(f'"{who}"',) for who in everyone]
    assert len(rows(path, "SELECT * FROM metric_points")) == 16
    assert not wal(path)
