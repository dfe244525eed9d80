"""What an exporter has reported, and what the SDK has flushed, is on the disk; and how long somebody waits for that."""

import ctypes
import logging
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult

from opentelemetry_instrumentation_corevital._internal import dropped_telemetry, generate_state
from opentelemetry_instrumentation_corevital.store import (
    SQLiteLogExporter,
    SQLiteMetricExporter,
    SQLiteSpanExporter,
    StoreWriter,
    exporters,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.database import open_database
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from tests.support.logs_and_metrics import emitted, gauge, log
from tests.support.spans import make_spans, rows, run_code

COUNT = "SELECT count(*) FROM spans"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let another connection hold the file's lock, as another process does."""
    open_database(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield
        holder.execute("ROLLBACK")


# --- flushed is stored -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_the_providers_have_flushed_survives_kill_9(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry_instrumentation_corevital.store import (
            SQLiteLogExporter, SQLiteMetricExporter, SQLiteSpanExporter)
        from tests.support.logs_and_metrics import log

        def write(number):
            traces, logs = TracerProvider(), LoggerProvider()
            traces.add_span_processor(BatchSpanProcessor(SQLiteSpanExporter(sys.argv[1])))
            logs.add_log_record_processor(BatchLogRecordProcessor(SQLiteLogExporter(sys.argv[1])))
            metrics = MeterProvider([PeriodicExportingMetricReader(SQLiteMetricExporter(sys.argv[1]))])
            for _ in range(700):  # more than one batch
                traces.get_tracer("").start_span("span").end()
            logs.get_logger("").emit(log("record"))
            metrics.get_meter("meter").create_counter("counter").add(1, {"number": number})
            # Each alone: none may rely on the others' waiting.
            flushed = (metrics, logs, traces)[number % 3]
            assert flushed.force_flush()
            os.kill(os.getpid(), signal.SIGKILL)

        for number in range(6):
            child = os.fork()
            if child == 0:
                write(number)
            os.waitpid(child, 0)
    """
    path = tmp_path / "runs.db"
    found = run_code(code, str(path))
    assert found.returncode == 0, found.stderr
    assert rows(path, COUNT)[0][0] >= 2 * 700
    assert rows(path, "SELECT count(*) FROM logs")[0][0] >= 2
    assert rows(path, "SELECT count(*) FROM metric_points")[0][0] >= 2


def test_success_means_committed_for_every_signal(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    spans, logs, metrics = SQLiteSpanExporter(path), SQLiteLogExporter(path), SQLiteMetricExporter(path)
    assert spans.export(make_spans(3)) is SpanExportResult.SUCCESS
    assert rows(path, COUNT) == [(3,)]
    assert logs.export(emitted(log("first"))) is LogRecordExportResult.SUCCESS
    assert rows(path, "SELECT count(*) FROM logs") == [(1,)]
    assert metrics.export(gauge(1, time_ns=1)) is MetricExportResult.SUCCESS
    assert rows(path, "SELECT count(*) FROM metric_points") == [(1,)]
    for exporter in (spans, logs, metrics):
        exporter.shutdown()


def test_a_file_that_is_locked_is_a_failure_and_what_was_queued_is_written_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.db"
    monkeypatch.setattr(exporters, "EXPORT_SECONDS", 0.2)
    exporter = SQLiteSpanExporter(path)
    metrics = SQLiteMetricExporter(path)
    with locked(path):
        assert exporter.export(make_spans(2)) is SpanExportResult.FAILURE
        assert not exporter.force_flush(100)
        monkeypatch.setattr(exporters, "EXPORT_SECONDS", 600.0)
        assert metrics.export(gauge(1, time_ns=1), timeout_millis=50) is MetricExportResult.FAILURE
    assert exporter.force_flush()
    assert (rows(path, COUNT), exporter.dropped) == ([(2,)], 0)
    assert rows(path, "SELECT count(*) FROM metric_points") == [(1,)]
    metrics.shutdown()
    exporter.shutdown()


def test_what_is_lost_fails_the_flush_once_and_is_counted_for_whoever_instruments(tmp_path: Path) -> None:
    path, told = tmp_path / "runs.db", list[int]()
    path.mkdir()
    exporter = SQLiteSpanExporter(path)
    dropped_telemetry.listen(told.append)
    try:
        assert exporter.export(make_spans(3)) is SpanExportResult.FAILURE
    finally:
        dropped_telemetry.ignore(told.append)
    assert sum(told) == exporter.dropped == 3
    assert not exporter.force_flush(), "three spans are lost"
    assert exporter.force_flush(), "and no more since"
    path.rmdir()
    assert exporter.export(make_spans()) is SpanExportResult.SUCCESS
    assert exporter.force_flush()
    exporter.shutdown()


def test_a_writer_that_is_closed_while_the_file_is_locked_counts_what_it_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writer = StoreWriter(path, patience=60.0)
    with locked(path):
        writer.submit([span_rows(span) for span in make_spans()])
        deadline = time.monotonic() + 20
        while writer._queue and time.monotonic() < deadline:  # the thread takes it and waits for the lock
            time.sleep(0.01)
        writer.submit([span_rows(span) for span in make_spans(4)])
        writer.close(timeout=0.1)
        assert writer.dropped == 4
        assert "of its closing" in str(writer.last_error)
    assert writer.flush()
    assert rows(path, COUNT) == [(1,)], "what the thread had taken is written"


# --- the thread --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_followed_by_another(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    exporter = SQLiteSpanExporter(path)
    assert exporter.export(make_spans()) is SpanExportResult.SUCCESS
    first = exporter._writer()._thread
    assert first is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(first.ident or 0), ctypes.py_object(SystemExit))
    exporter.export(make_spans())  # wakes the thread, which ends of the exception with or without this span
    first.join(20)
    assert not first.is_alive()
    assert exporter.export(make_spans()) is SpanExportResult.SUCCESS
    assert exporter._writer()._thread is not first
    assert rows(path, COUNT)[0][0] + exporter.dropped == 3
    exporter.shutdown()


def test_a_programs_log_handler_that_raises_ends_neither_the_thread_nor_the_caller(tmp_path: Path) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record.getMessage())

    path, handler = tmp_path / "runs.db", Raises()
    path.mkdir()
    exporter = SQLiteSpanExporter(path)
    logging.getLogger().addHandler(handler)
    try:
        assert exporter.export([*make_spans(), object()]) is SpanExportResult.FAILURE  # type: ignore[list-item]
    finally:
        logging.getLogger().removeHandler(handler)
    path.rmdir()
    assert exporter.export(make_spans()) is SpanExportResult.SUCCESS
    assert exporter.dropped == 2
    exporter.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_an_export_waits_neither_hangs_nor_writes_twice(tmp_path: Path) -> None:
    code = """
        import os, sqlite3, subprocess, sys, threading, time
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from opentelemetry_instrumentation_corevital.store.database import open_database
        open_database(sys.argv[1]).close()
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(SQLiteSpanExporter(sys.argv[1])))
        tracer = provider.get_tracer("")
        # A process of its own: a fork copies what SQLite knows of the locks of this one.
        hold = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)"
        hold += "; c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read(); c.execute('ROLLBACK')"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        holder = subprocess.Popen([sys.executable, "-c", hold, sys.argv[1]], **pipes)
        assert holder.stdout.readline().strip() == b"locked"
        tracer.start_span("parent").end()
        flushing = threading.Thread(target=provider.force_flush)
        flushing.start()  # waits for the file, inside the SDK's lock
        time.sleep(0.2)
        child = os.fork()
        if child == 0:
            holder.stdin.close()
            tracer.start_span("child").end()
            os._exit(0 if provider.force_flush() else 1)
        holder.communicate()
        assert os.waitpid(child, 0)[1] == 0
        flushing.join()
        provider.shutdown()
    """
    path = tmp_path / "runs.db"
    found = run_code(code, str(path))
    assert found.returncode == 0, found.stderr
    assert sorted(rows(path, "SELECT name FROM spans")) == [("child",), ("parent",)]


# --- the end of the process, while another one holds the file's lock -----------------------------------------------

HELD = """
    import os, signal, sqlite3, subprocess, sys, threading, time
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry_instrumentation_corevital.instrumentation import flushing, sigterm
    from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, writer
    from opentelemetry_instrumentation_corevital.store.database import open_database
    open_database(sys.argv[1]).close()
    hold = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)"
    hold += "; c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", hold, sys.argv[1]], **pipes)
    holder.stdout.readline()
    writer.EXIT_SECONDS = flushing.FLUSH_SECONDS = 0.5  # the test need not last longer
    exporter = SQLiteSpanExporter(sys.argv[1])
"""


def test_sigterm_while_an_export_waits_ends_the_process_all_the_same(tmp_path: Path) -> None:
    code = """
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    assert sigterm.flush_at_sigterm(lambda: flushing.providers(()))
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    provider.get_tracer("").start_span("span").end()  # the main thread waits for the file
    time.sleep(120)
    """
    found = run_code(HELD + code, str(tmp_path / "runs.db"), timeout=100)
    assert found.returncode == -signal.SIGTERM, found.stderr
    assert "exporters took more than" in found.stderr


def test_the_interpreter_ends_and_says_what_is_lost(tmp_path: Path) -> None:
    code = """
    from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
    from tests.support.spans import make_spans
    exporter._writer().submit([span_rows(span) for span in make_spans(600)])  # more than one transaction takes
    """
    found = run_code(HELD + code, str(tmp_path / "runs.db"), timeout=100)
    assert found.returncode == 0, found.stderr
    assert "of the interpreter's end" in found.stderr


# --- on the caller's thread --------------------------------------------------------------------------------------


def test_right_after_the_first_generate_the_run_is_there(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests.support.in_memory import Telemetry, instrumented
    from tests.support.tiny_models import prompt, tiny_model

    path, telemetry, model = tmp_path / "runs.db", Telemetry(), tiny_model()
    exporter = SQLiteSpanExporter(path)
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    with instrumented(telemetry):
        model.generate(prompt(), max_new_tokens=3, do_sample=False)
        with open_store(path) as store:
            assert len(store.runs()) == 1
    exporter.shutdown()


def test_generate_waits_for_a_locked_file_once_and_little_and_the_rest_is_written_behind(tmp_path: Path) -> None:
    """However much it exports: a span, and a log record for each of its steps."""
    pytest.importorskip("torch")
    from tests.support.in_memory import Telemetry, instrumented
    from tests.support.tiny_models import prompt, tiny_model

    path, telemetry, model = tmp_path / "runs.db", Telemetry(), tiny_model()
    spans, logs = SQLiteSpanExporter(path), SQLiteLogExporter(path)
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
    waits: list[float] = []
    with instrumented(telemetry, step_events="logs"), locked(path):
        for _ in range(2):
            model.generate(prompt(), max_new_tokens=12, do_sample=False, eos_token_id=None)
            waits.append(generate_state.thread.waited)
            assert generate_state.thread.in_generate.get() is None
    # A wait may end late on a busy machine; without a limit for the whole call there are 13 of half a second.
    assert all(generate_state.PATIENCE <= each < 6 * generate_state.PATIENCE for each in waits)
    assert spans.force_flush()
    assert (rows(path, "SELECT count(*) FROM runs"), spans.dropped) == ([(2,)], 0)
    assert rows(path, "SELECT count(*) FROM logs")[0][0] >= 24
    spans.shutdown()
    logs.shutdown()


def test_a_reader_in_the_same_process_sees_what_is_written_behind(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    provider, exporter = TracerProvider(), SQLiteSpanExporter(path)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    generate_state.begin(measured=True)
    generate_state.waited(generate_state.PATIENCE)  # the call's patience is used up: nothing is waited for
    try:
        for _ in range(20):
            provider.get_tracer("").start_span("span").end()
    finally:
        generate_state.end()
    with open_store(path) as store:
        assert len(store.runs(limit=None)) == 0
    assert rows(path, COUNT) == [(20,)]
    provider.shutdown()


def test_other_threads_wait_as_ever_while_one_generates(tmp_path: Path) -> None:
    seen: list[Any] = []
    generate_state.begin(measured=True)
    try:
        other = threading.Thread(target=lambda: seen.append(generate_state.patience(10.0)))
        other.start()
        other.join()
        seen.append(generate_state.patience(10.0))
    finally:
        generate_state.end()
    assert seen == [10.0, generate_state.PATIENCE]
    assert generate_state.patience(10.0) == 10.0


def test_a_batch_processor_in_a_program_with_a_locked_file_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    provider, exporter = TracerProvider(), SQLiteSpanExporter(path)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=10))
    started = threading.Event()

    def work() -> None:
        for _ in range(600):  # more than one batch
            provider.get_tracer("").start_span("span").end()
        started.set()

    with locked(path):
        threading.Thread(target=work, daemon=True).start()
        assert started.wait(10)
    provider.shutdown()
    assert (rows(path, COUNT), exporter.dropped) == ([(600,)], 0)
