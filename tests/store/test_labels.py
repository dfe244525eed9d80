"""Labels, deletion, and a log record that comes twice."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import (
    SQLiteLogExporter,
    SQLiteMetricExporter,
    SQLiteSpanExporter,
    StoreError,
    editing,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.database import open_database
from opentelemetry_instrumentation_corevital.store.maintenance import check, delete_call, vacuum
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label
from tests.support.logs_and_metrics import Metered, chunk_records, emitted, in_span, log
from tests.support.spans import make_call, make_spans, rows, run_attributes


def export(path: Path, spans: list) -> None:
    exporter = SQLiteSpanExporter(path)
    exporter.export(spans)
    exporter.shutdown()
    assert exporter.last_error is None


def test_a_label_is_found_changed_kept_on_redelivery_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    spans = make_spans(2)
    export(path, spans)
    with open_store(path) as store:
        run = store.runs()[0]
    key = (run.trace_id, run.span_id)
    set_label(path, *key, "correct")
    set_label(path, *key, "incorrect", "it names the wrong year")
    export(path, spans)
    with open_store(path) as store:
        assert [found.trace_id for found in store.runs(label="incorrect")] == [run.trace_id]
        assert (len(store.runs(label="any")), len(store.runs(label="none")), store.runs(label="correct")) == (1, 1, [])
        label = store.load(run).label
        assert label is not None
        assert (label.outcome, label.note) == ("incorrect", "it names the wrong year")
    assert check(path) == []
    set_label(path, *key, None)
    with open_store(path) as store:
        assert store.runs(label="any") == []
        assert store.load(run).label is None
    with pytest.raises(StoreError, match="one word of at most"):
        set_label(path, *key, "not a word")
    with pytest.raises(StoreError, match="holds no run"):
        set_label(path, "0" * 32, "0" * 16, "correct")
    with pytest.raises(StoreError, match="no such file"):
        set_label(tmp_path / "none.db", *key, "correct")


def test_a_log_record_that_comes_twice_is_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    records = emitted(log("a", context=in_span()), log("b"), log("a"), log("c", attributes={"x": 1}))
    for _ in range(2):
        exporter = SQLiteLogExporter(path)
        exporter.export(records)
        exporter.export(records[:2])
        exporter.shutdown()
    assert rows(path, "SELECT count(*) FROM logs") == [(4,)]


def everything(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.iterdir() if each.name.startswith(path.name))


def test_a_deleted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    secret = "the-secret-answer " * 40
    (doomed,) = make_spans(service="doomed", events=90, **{semconv.GEN_AI_OUTPUT_MESSAGES: secret})
    (kept,) = make_spans(service="kept")
    assert doomed.context is not None
    context = in_span(doomed.context.trace_id, doomed.context.span_id)
    export(path, [doomed, kept])
    export(path, [doomed])  # a second delivery has to leave nothing behind either
    logs = SQLiteLogExporter(path)
    logs.export(emitted(log("note-of-the-run", context=context), *chunk_records(b"D" * 9000, 4000, context=context)))
    logs.shutdown()
    metered = Metered(SQLiteMetricExporter(path))
    from opentelemetry import context as context_api

    token = context_api.attach(context)
    metered.meter.create_histogram("h").record(1.0)
    context_api.detach(token)
    metered.collect()
    metered.shutdown()
    trace = f"{doomed.context.trace_id:032x}"
    set_label(path, trace, f"{doomed.context.span_id:016x}", "correct", "the-note-of-somebody")
    for trace_of in (trace.encode(), b"the-secret-answer", b"note-of-the-run", b"the-note-of", b"D" * 500, b"doomed"):
        assert trace_of in everything(path), trace_of
    removed = delete_call(path, trace, [f"{doomed.context.span_id:016x}"])
    assert (removed.spans, removed.logs, removed.run_data) == (1, 1, 1)
    for trace_of in (trace.encode(), b"the-secret-answer", b"note-of-the-run", b"the-note-of", b"D" * 500, b"doomed"):
        assert trace_of not in everything(path), trace_of
    assert rows(path, "SELECT service_name FROM runs") == [("kept",)]
    assert check(path) == []


def test_what_a_reader_keeps_in_the_file_is_told_and_goes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editing, "open_database", partial(open_database, busy_seconds=0.2))
    path = tmp_path / "runs.db"
    (doomed,) = make_spans(service="doomed")
    export(path, [doomed])
    assert doomed.context is not None
    name = (f"{doomed.context.trace_id:032x}", [f"{doomed.context.span_id:016x}"])
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        with pytest.raises(StoreError, match="is deleted, but another program still reads"):
            delete_call(path, *name)
        assert rows(path, "SELECT count(*) FROM runs") == [(0,)]
        with pytest.raises(StoreError, match="gets smaller after that"):
            vacuum(path)
    vacuum(path)
    for trace_of in (name[0].encode(), b"doomed"):
        assert trace_of not in everything(path), trace_of


def test_one_call_of_an_agent_goes_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    exporter = SQLiteSpanExporter(path)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("")
    with tracer.start_as_current_span("agent"):
        for _ in range(2):
            with tracer.start_as_current_span("chat", attributes=run_attributes()):
                tracer.start_span("below").end()
    provider.shutdown()
    with open_store(path) as store:
        newest, oldest = store.runs()
    delete_call(path, newest.trace_id, [newest.span_id])
    with open_store(path) as store:
        assert [run.span_id for run in store.runs()] == [oldest.span_id]
    assert sorted(name for (name,) in rows(path, "SELECT name FROM spans")) == ["agent", "below", "chat"]
    delete_call(path, oldest.trace_id, [oldest.span_id])
    assert rows(path, "SELECT count(*) FROM spans") == [(0,)]


def test_a_call_with_several_sequences_goes_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    export(path, [*make_call(3), *make_spans()])
    with open_store(path) as store:
        call = store.call(store.runs()[-1].trace_id)
    assert [run.sequence_index for run in call] == [0, 1, 2]
    delete_call(path, call[0].trace_id, [run.span_id for run in call])
    assert rows(path, "SELECT count(*) FROM spans") == [(1,)]


def test_vacuum_gives_space_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    export(path, make_spans(200, events=60))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM spans")
        connection.commit()
    before, after = vacuum(path)
    assert after < before / 5
    assert check(path) == []
