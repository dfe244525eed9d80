"""The writer and the exporter where time and processes meddle: exit, fork, threads, exchanged files, odd spans."""

import os
import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import (
    SQLiteSpanExporter,
    StoreWriter,
    open_store,
    writers_across_forks,
)
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from tests.support.spans import make_spans, rows, run_code

# --- the end of the process --------------------------------------------------------------------------------------


def test_spans_that_end_just_before_the_interpreter_are_stored(tmp_path: Path) -> None:
    code = """
        import sys, time
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        exporter = SQLiteSpanExporter(sys.argv[1])
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
        tracer = provider.get_tracer("")
        tracer.start_span("first").end()
        provider.force_flush()  # the writer is made, and its exit handler registered after the provider's
        tracer.start_span("last").end()
    """
    path = tmp_path / "runs.db"
    found = run_code(code, str(path))
    assert found.returncode == 0, found.stderr
    assert sorted(rows(path, "SELECT name FROM spans")) == [("first",), ("last",)]
    assert not (tmp_path / "runs.db-wal").exists(), "the file was not closed"


def test_where_no_thread_can_start_export_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    exporter, spans = SQLiteSpanExporter(str(tmp_path / "runs.db")), make_spans(3)
    with monkeypatch.context() as shutdown:
        shutdown.setattr(threading.Thread, "start", refuse)
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        assert rows(tmp_path / "runs.db", "SELECT count(*) FROM runs") == [(3,)]
        exporter.shutdown()
    assert not (tmp_path / "runs.db-wal").exists()


def test_after_shutdown_spans_are_refused_and_nothing_is_made(tmp_path: Path) -> None:
    exporter = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    exporter.shutdown()
    assert exporter.export(make_spans()) is SpanExportResult.FAILURE
    closed = StoreWriter(tmp_path / "runs.db")
    closed.close()
    assert not closed.submit([span_rows(span) for span in make_spans(2)])
    assert closed.dropped == 2
    assert list(tmp_path.iterdir()) == []


# --- threads and forks -------------------------------------------------------------------------------------------


def test_threads_that_export_first_share_one_writer(tmp_path: Path) -> None:
    (span,) = make_spans()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for attempt in range(60):
            exporter = SQLiteSpanExporter(str(tmp_path / f"{attempt}.db"))
            barrier, used = threading.Barrier(4), set()

            def export(exporter: SQLiteSpanExporter, barrier: threading.Barrier, used: set) -> None:
                barrier.wait()
                used.add(exporter._writer())

            threads = [threading.Thread(target=export, args=(exporter, barrier, used)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(used) == 1
    finally:
        sys.setswitchinterval(interval)
    assert exporter.export([span]) is SpanExportResult.SUCCESS
    exporter.shutdown()


def test_two_threads_that_fork_at_once_wait_for_each_other(tmp_path: Path) -> None:
    store = StoreWriter(tmp_path / "runs.db")
    assert store.submit([span_rows(span) for span in make_spans()])
    entered, left = threading.Event(), threading.Event()

    def fork_too() -> None:
        writers_across_forks.before_fork()
        entered.set()
        writers_across_forks.after_fork_in_parent()
        left.set()

    writers_across_forks.before_fork()
    other = threading.Thread(target=fork_too, daemon=True)
    other.start()
    assert not entered.wait(0.2)
    writers_across_forks.after_fork_in_parent()
    assert left.wait(5)
    assert store.submit([span_rows(span) for span in make_spans()])
    assert store.flush(5)
    store.close()
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM runs") == [(2,)]


def test_a_child_leaves_the_connection_of_its_parent_alone(tmp_path: Path) -> None:
    """Whoever closes a store last moves its -wal file into it: a child that exits normally must not be that one."""
    code = """
        import os, signal, sys
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from tests.support.spans import make_spans
        exporter = SQLiteSpanExporter(sys.argv[1])
        exporter.export(make_spans(3))
        exporter.force_flush()
        parent_lives, parent = os.pipe()
        child_lives, child = os.pipe()
        if os.fork() == 0:
            os.close(parent)
            os.read(parent_lives, 1)
            sys.exit(0)  # which finalises the interpreter; the end of `child` is closed after that
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "runs.db"
    run_code(code, str(path))  # waits for the child too: it holds standard output
    assert (tmp_path / "runs.db-wal").stat().st_size > 0
    assert rows(path, "SELECT count(*) FROM runs") == [(3,)]


def test_a_child_begins_with_an_empty_queue_and_an_untouched_connection(tmp_path: Path) -> None:
    code = """
        import os, sqlite3, sys, threading
        from opentelemetry_instrumentation_corevital.store import StoreWriter
        from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
        from tests.support.spans import make_spans

        def count():
            with sqlite3.connect(sys.argv[1]) as connection:
                return connection.execute("SELECT count(*) FROM runs").fetchone()[0]

        store = StoreWriter(sys.argv[1])
        mine = [span_rows(span) for span in make_spans(6)]
        store.submit(mine[:1])
        assert store.flush() and count() == 1
        with store._lock:  # the parent's thread cannot write; what it has not taken stays in the queue
            store.submit(mine[1:3])
            store.submit(mine[3:])
            child = os.fork()
            if child == 0:
                inherited = store._orphans[0].connection
                store.submit([span_rows(span) for span in make_spans(1)])
                ok = store.flush() and store.last_error is None and inherited.total_changes > 0
                store.close()
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert count() == 2, count()
        assert store.flush() and count() == 7, count()
        store.close()
    """
    found = run_code(code, str(tmp_path / "runs.db"))
    assert found.returncode == 0, found.stderr


def test_a_fork_waits_little_for_a_locked_file(tmp_path: Path) -> None:
    code = """
        import os, sqlite3, sys, threading, time
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from opentelemetry_instrumentation_corevital.store.database import open_database
        from tests.support.spans import make_spans
        open_database(sys.argv[1]).close()
        holder = sqlite3.connect(sys.argv[1], isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        exporter = SQLiteSpanExporter(sys.argv[1])
        threading.Thread(target=exporter.export, args=(make_spans(),)).start()
        time.sleep(0.05)
        for _ in range(3):
            start = time.monotonic()
            child = os.fork()
            if child == 0:
                os._exit(0)
            assert time.monotonic() - start < 1, time.monotonic() - start
            os.waitpid(child, 0)
        holder.execute("ROLLBACK")
        exporter.shutdown()
        assert exporter.last_error is None, exporter.last_error
    """
    found = run_code(code, str(tmp_path / "runs.db"))
    assert found.returncode == 0, found.stderr
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM runs") == [(1,)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_during_every_kind_of_use_neither_hangs_nor_writes_twice(tmp_path: Path) -> None:
    code = """
        import os, sys, threading
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from tests.support.spans import make_spans
        exporter = SQLiteSpanExporter(sys.argv[1])
        spans = make_spans(120, events=5, service="parent")

        def fork(number):
            for index in range(10):
                child = os.fork()
                if child == 0:
                    exporter.export(make_spans(1, service=f"child {number} {index}"))
                    exporter.shutdown()
                    os._exit(0 if exporter.last_error is None else 1)
                codes.append(os.waitpid(child, 0)[1])

        codes = []
        threads = [threading.Thread(target=fork, args=(number,)) for number in range(2)]
        threads.append(threading.Thread(target=lambda: [exporter.export([span]) for span in spans]))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        exporter.shutdown()
        assert codes == [0] * 20, codes
    """
    path = tmp_path / "runs.db"
    found = run_code(code, str(path))
    assert found.returncode == 0, found.stderr
    stored = dict(rows(path, "SELECT service_name, count(*) FROM runs GROUP BY 1"))
    assert stored == {"parent": 120, **{f"child {n} {index}": 1 for n in range(2) for index in range(10)}}


# --- the file ----------------------------------------------------------------------------------------------------


def test_a_file_put_in_place_of_the_first_is_written_to(tmp_path: Path) -> None:
    path, other = tmp_path / "runs.db", tmp_path / "other.db"
    exporters = [SQLiteSpanExporter(str(each)) for each in (path, other)]
    for exporter in exporters:
        exporter.export(make_spans())
        exporter.force_flush()
    exporters[1].shutdown()
    other.replace(path)
    for leftover in ("-wal", "-shm"):
        Path(f"{path}{leftover}").unlink()
    exporters[0].export(make_spans(2))
    exporters[0].shutdown()
    assert exporters[0].last_error is None
    assert rows(path, "SELECT count(*) FROM runs") == [(3,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_store_that_becomes_unusable_never_raises_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    path.write_text("not a database, and long enough to be read as a header of one " * 20)
    exporter = SQLiteSpanExporter(str(path))
    for _ in range(3):
        assert exporter.export(make_spans()) is SpanExportResult.FAILURE
        assert not exporter.force_flush(), "flushed is stored"
    assert "not an SQLite database" in str(exporter.last_error)
    assert exporter.dropped == 3
    assert [record.getMessage().count(str(path)) for record in caplog.records] == [1]
    path.unlink()
    exporter.export(make_spans())
    assert exporter.force_flush()
    assert exporter.last_error is None
    exporter.shutdown()


# --- spans -------------------------------------------------------------------------------------------------------


def test_a_span_that_no_row_can_hold_does_not_take_others_along(tmp_path: Path) -> None:
    good = [span_rows(span) for span in make_spans(4)]
    bad = replace(good[1], span=tuple(2**70 if cell == good[1].span[6] else cell for cell in good[1].span))
    store = StoreWriter(tmp_path / "runs.db")
    assert store.submit([good[0], bad, *good[2:]])
    assert store.flush()
    assert store.dropped == 1
    store.close()
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM spans") == [(3,)]


def test_values_of_a_wrong_type_leave_their_column_empty(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    wrong = {
        semconv.RISK_SCORE: ["high"],
        semconv.RISK_LEVEL: 3,
        semconv.HEALTH_NAN: "no",
        semconv.WARNINGS: "none",
        semconv.GEN_AI_USAGE_INPUT_TOKENS: 2**80,
        semconv.GEN_AI_USAGE_OUTPUT_TOKENS: True,
        semconv.GEN_AI_RESPONSE_FINISH_REASONS: "stop",
        semconv.EARLY_WARNING_FAILURE_RISK: float("nan"),
        semconv.NARRATIVE: "cut \ud83d",
    }
    exporter = SQLiteSpanExporter(str(path))
    exporter.export(make_spans(**wrong))
    exporter.shutdown()
    assert exporter.last_error is None
    with open_store(path) as store:
        (run,) = store.runs()
    assert (run.risk_score, run.risk_level, run.nan_detected, run.warnings) == (None, None, None, None)
    assert (run.input_tokens, run.output_tokens, run.finish_reason, run.failure_risk) == (None, None, None, None)
    assert run.narrative == "cut ?"


# --- settings and imports ----------------------------------------------------------------------------------------


def test_a_bad_setting_is_logged_once_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE", "everything")
    exporter = SQLiteSpanExporter()
    assert not caplog.records
    for _ in range(2):
        assert exporter.export(make_spans()) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert len([record for record in caplog.records if "OTEL_COREVITAL_CAPTURE" in record.getMessage()]) == 1
    with closing(sqlite3.connect(tmp_path / "corevital" / "corevital.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)


def test_reading_needs_neither_torch_nor_the_sdk() -> None:
    code = """
        import sys
        from opentelemetry_instrumentation_corevital.store import StoreError, open_store
        heavy = [name for name in sys.modules if name in ("torch", "transformers") or name.startswith("opentelemetry.")]
        assert not heavy, heavy
    """
    found = run_code(code)
    assert found.returncode == 0, found.stderr
