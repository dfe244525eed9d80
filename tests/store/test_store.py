"""The store: what goes in comes out, once, from several processes, and every fault is one clear sentence."""

import json
import math
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, SpanContext, TraceFlags, format_span_id, format_trace_id

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import (
    SQLiteSpanExporter,
    StoreError,
    StoreWriter,
    database,
    migrations,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.database import (
    SCHEMA_VERSION,
    check_writable,
    explain,
    open_database,
)
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from tests.support.spans import make_spans, rows, run_code


def store(path: Path, *batches: list) -> SQLiteSpanExporter:
    exporter = SQLiteSpanExporter(str(path))
    for spans in batches:
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert exporter.force_flush()
    return exporter


# --- what goes in comes out --------------------------------------------------------------------------------------


def test_a_span_comes_back_as_it_was_exported(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "runs.db"
    (span,) = make_spans()
    store(path, [span]).shutdown()
    with open_store(path) as opened:
        (summary,) = opened.runs()
        stored = opened.run("last")
    assert span.context is not None
    assert summary.trace_id == format_trace_id(span.context.trace_id)
    assert (summary.start_ns, summary.end_ns) == (span.start_time, span.end_time)
    assert (summary.model, summary.risk_score, summary.risk_level) == ("org/model", 0.25, "low")
    assert (summary.nan_detected, summary.inf_detected, summary.flags) == (False, None, ("repetition_loop_detected",))
    assert (summary.input_tokens, summary.output_tokens, summary.finish_reason) == (5, 40, "length")
    assert summary.warnings == ("repetition_risk",)
    assert summary.service_name == "tests"
    assert stored.attributes == json.loads(json.dumps(dict(span.attributes or {})))
    assert [(event.name, event.time_ns) for event in stored.events] == [(e.name, e.timestamp) for e in span.events]
    assert stored.events[1].attributes == {semconv.STEP_INDEX: 1, semconv.STEP_ENTROPY: 0.5}


def test_only_judged_sequences_are_runs_and_every_span_is_kept(tmp_path: Path) -> None:
    parent = make_spans(**{semconv.STEPS_TOTAL: 1})
    (other,) = make_spans()
    other._attributes = {"http.route": "/"}  # a span of somebody else
    path = tmp_path / "runs.db"
    store(path, parent, [other])
    assert rows(path, "SELECT count(*) FROM spans") == [(2,)]
    assert rows(path, "SELECT count(*) FROM runs") == [(1,)]
    assert rows(path, "SELECT count(*) FROM resources") == [(1,)]


def test_a_second_delivery_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    spans = make_spans(3)
    store(path, spans, spans[:2], spans)
    counts = {table: rows(path, f"SELECT count(*) FROM {table}")[0][0] for table in ("spans", "runs", "span_events")}
    assert counts == {"spans": 3, "runs": 3, "span_events": 6}


def test_links_bytes_and_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    (span,) = make_spans(**{"lone surrogate": "\ud800", "nan": math.nan, "list": [1.0, math.inf]})
    context = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1))
    span._attributes = {**(span.attributes or {}), "raw": b"\x00\xff"}  # which older SDKs decode
    span._links = [Link(context, {"why": "retry"})]
    store(path, [span])
    with open_store(path) as opened:
        attributes = opened.run("last").attributes
    assert attributes["raw"] == "AP8="
    assert "nan" not in attributes
    assert "list" not in attributes
    assert rows(path, "SELECT count(*) FROM spans WHERE attributes LIKE '%null%'") == [(0,)]
    assert rows(path, "SELECT linked_trace_id, linked_span_id, attributes FROM span_links") == [
        (format_trace_id(7), format_span_id(9), '{"why":"retry"}')
    ]


def test_filters_and_lists_use_an_index_and_no_json(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store(
        path,
        make_spans(2, **{semconv.RISK_SCORE: 0.9, semconv.GEN_AI_REQUEST_MODEL: "org/other"}),
        make_spans(2, **{semconv.HEALTH_REPETITION_LOOP: False, semconv.FINGERPRINT_PROMPT_HASH: "cd" * 32}),
    )
    with open_store(path) as opened:
        assert len(opened.runs(limit=3)) == 3
        assert {run.model for run in opened.runs(risk_above=0.5)} == {"org/other"}
        assert len(opened.runs(flag="repetition_loop_detected")) == 2
        assert len(opened.runs(prompt_hash="cdcd")) == 2
        assert opened.runs(since_ns=time.time_ns()) == []
        starts = [run.start_ns for run in opened.runs()]
        assert starts == sorted(starts, reverse=True)
        with pytest.raises(StoreError, match="flags are nan_detected"):
            opened.runs(flag="happy")
    for condition in ("", "WHERE model = 'x'", "WHERE prompt_hash >= 'a' AND prompt_hash < 'b'"):
        plan = str(rows(path, f"EXPLAIN QUERY PLAN SELECT model FROM runs {condition} ORDER BY start_ns DESC LIMIT 5"))
        assert "USING INDEX" in plan or "USING COVERING INDEX" in plan
        assert "json" not in plan


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    spans = make_spans(2)
    store(path, spans)
    trace = format_trace_id(spans[0].context.trace_id)  # type: ignore[union-attr]
    with open_store(path) as opened:
        assert opened.run(trace[:8]).summary.trace_id == trace
        assert opened.run(f"{trace}:0").summary.trace_id == trace
        for wrong, message in ((trace[:3], "four characters"), ("ffff0000", "holds no run"), (f"{trace}:x", "number")):
            with pytest.raises(StoreError, match=message):
                opened.run(wrong)


# --- faults ------------------------------------------------------------------------------------------------------


def test_the_constructor_opens_nothing(tmp_path: Path) -> None:
    SQLiteSpanExporter(str(tmp_path / "a" / "runs.db")).shutdown()
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_are_told(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no database at all, but long enough to look like one " * 40)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    newer = tmp_path / "newer.db"
    with open_database(newer) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for path, message in ((text, "not an SQLite database"), (foreign, "something else"), (newer, "newer CoreVital")):
        before = path.read_bytes()
        for opener in (open_database, open_store):
            with pytest.raises(StoreError, match=message) as caught:
                opener(path)
            assert str(path) in str(caught.value)
        assert path.read_bytes() == before
    with pytest.raises(StoreError, match="there is no such file"):
        open_store(tmp_path / "missing.db")
    with pytest.raises(StoreError, match="is a folder"):
        open_database(tmp_path)
    with pytest.raises(StoreError, match="folder cannot be made"):
        open_database(text / "below" / "runs.db")


def test_a_store_that_another_process_makes_meanwhile_is_not_a_foreign_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, look, others = tmp_path / "runs.db", database._version, []

    def look_and_be_overtaken(connection: sqlite3.Connection) -> int:
        version = look(connection)
        if not others:
            others.append("another process")
            open_database(path).close()
        return version

    monkeypatch.setattr(database, "_version", look_and_be_overtaken)
    open_database(path).close()
    assert others
    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_one_process_makes_the_tables_while_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read, refused = tmp_path / "runs.db", migrations.statements, []

    def read_while_another_tries() -> list[str]:
        monkeypatch.setattr(migrations, "statements", read)
        with pytest.raises(StoreError, match="locked") as caught:
            open_database(path, busy_seconds=0.05)
        refused.append(caught)
        return read()

    monkeypatch.setattr(migrations, "statements", read_while_another_tries)
    open_database(path).close()
    assert refused
    open_database(path).close()


def test_a_locked_file_is_told_and_written_once_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        open_database(path, busy_seconds=0.05)
    writer = StoreWriter(path, patience=0.1)
    (lost,), (kept,) = make_spans(), make_spans()
    assert writer.submit([span_rows(lost)])
    assert writer.flush()
    assert "locked" in str(writer.last_error)
    assert writer.dropped == 1
    patient = StoreWriter(path)
    assert patient.submit([span_rows(kept)])
    assert not patient.flush(timeout=0.3)
    holder.execute("ROLLBACK")
    assert patient.flush()
    assert (patient.last_error, patient.dropped) == (None, 0)
    assert writer.submit([span_rows(kept)])
    assert writer.flush()
    assert writer.last_error is None
    assert rows(path, "SELECT count(*) FROM runs") == [(1,)]


def test_a_full_disk_is_told_and_what_was_stored_stays(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store(path, make_spans()).shutdown()
    code = f"""
        import resource, signal
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from tests.support.spans import make_spans
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        exporter = SQLiteSpanExporter({str(path)!r})
        exporter.export(make_spans(200, events=60))
        exporter.force_flush()
        print(exporter.last_error)
    """
    found = run_code(code)
    assert found.returncode == 0, found.stderr
    assert str(path) in found.stdout
    assert "no space left" in found.stdout or "(I/O error)" in found.stdout
    assert rows(path, "SELECT count(*) FROM runs") == [(1,)]


def test_a_read_only_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store(path, make_spans()).shutdown()
    # A superuser may write any file: a connection that may not stands for a file that may not be written.
    readonly = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError) as caught:
        check_writable(readonly)
    assert "read-only; make it writable" in str(explain(caught.value, path))
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        return
    with pytest.raises(StoreError, match="read-only"):
        open_database(path)


def test_a_store_in_a_read_only_folder_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.store import database

    path = tmp_path / "runs.db"
    store(path, make_spans()).shutdown()
    real = database._open_read_only

    def as_in_a_read_only_folder(path: Path, options: str, any_version: bool) -> sqlite3.Connection:
        if "immutable" not in options:
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return real(path, options, any_version)

    monkeypatch.setattr(database, "_open_read_only", as_in_a_read_only_folder)
    monkeypatch.setattr(database.os, "access", lambda path, mode, **_: False)
    with open_store(path) as opened:
        assert len(opened.runs()) == 1
    (tmp_path / "runs.db-wal").write_bytes(b"something to be read first")
    with pytest.raises(StoreError, match=r"read-only|cannot be opened|readonly"):
        open_store(path)


def test_a_deleted_or_replaced_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    exporter = store(path, make_spans())
    for leftover in tmp_path.iterdir():
        leftover.unlink()
    exporter.export(make_spans(2))
    assert exporter.force_flush()
    assert exporter.last_error is None
    assert rows(path, "SELECT count(*) FROM runs") == [(2,)]


def test_the_queue_is_bounded_and_drops_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spans = [span_rows(span) for span in make_spans(20)]
    writer = StoreWriter(tmp_path / "runs.db", queue_bytes=10 * spans[0].bytes)
    with writer._lock:  # the disk does not answer
        started = time.monotonic()
        accepted = [writer.submit([row]) for row in spans * 3]
        assert time.monotonic() - started < 1
        assert not all(accepted)
        assert writer.dropped == accepted.count(False) > 0
    assert writer.flush()
    writer.close()
    assert len([record for record in caplog.records if "loses telemetry" in record.getMessage()]) == 1
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM runs")[0][0] == len(
        {row.span[1] for row, ok in zip(spans * 3, accepted, strict=True) if ok}
    )


def test_the_default_path_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.store.exporters import default_path

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == str(tmp_path / "corevital" / "corevital.db")
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", "elsewhere.db")
    assert default_path() == "elsewhere.db"


# --- processes ---------------------------------------------------------------------------------------------------

WRITE = """
    import sys
    from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
    from tests.support.spans import make_spans
    exporter = SQLiteSpanExporter(sys.argv[1])
    for _ in range(int(sys.argv[2])):
        exporter.export(make_spans(5, service=sys.argv[3]))
        {flush}
        print("stored", flush=True)
    exporter.shutdown()
    assert exporter.last_error is None, exporter.last_error
"""


def start(path: Path, batches: int, service: str = "s", flush: str = "exporter.force_flush()") -> subprocess.Popen:
    code = textwrap.dedent(WRITE.format(flush=flush))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(batches), service], stdout=subprocess.PIPE, text=True
    )


def test_four_processes_create_and_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    processes = [start(path, 10, f"service {index}", flush="pass") for index in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert rows(path, "SELECT service_name, count(*) FROM runs GROUP BY 1 ORDER BY 1") == [
        (f"service {index}", 50) for index in range(4)
    ]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_forked_children_write_their_own_spans_and_none_twice(tmp_path: Path) -> None:
    code = """
        import os, sys, threading, time
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from tests.support.spans import make_spans
        exporter = SQLiteSpanExporter(sys.argv[1])
        mine = make_spans(300, service="parent")
        busy = threading.Thread(target=lambda: [exporter.export([span]) for span in mine])
        busy.start()
        children = []
        for index in range(20):
            pid = os.fork()
            if pid == 0:
                exporter.export(make_spans(3, service=f"child {index}"))
                ok = exporter.force_flush(20_000) and exporter.last_error is None
                os._exit(0 if ok else 1)
            children.append(pid)
            time.sleep(0.005)
        busy.join()
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        exporter.shutdown()
        assert codes == [0] * 20, codes
        assert exporter.last_error is None, exporter.last_error
    """
    path = tmp_path / "runs.db"
    found = run_code(code, str(path))
    assert found.returncode == 0, found.stderr
    stored = dict(rows(path, "SELECT service_name, count(*) FROM runs GROUP BY 1"))
    assert stored == {"parent": 300, **{f"child {index}": 3 for index in range(20)}}
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_threads_export_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    exporter = SQLiteSpanExporter(str(path))
    threads = [threading.Thread(target=lambda: exporter.export(make_spans(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exporter.shutdown()
    assert rows(path, "SELECT count(*) FROM runs") == [(80,)]
