"""Run data: its chunks come in any order, twice, from several processes, or damaged."""

import base64
import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.trace import format_span_id, format_trace_id

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import (
    SQLiteLogExporter,
    SQLiteSpanExporter,
    StoreWriter,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.run_data_rows import MAX_BYTES, PATIENCE_NS, whole_run_data
from opentelemetry_instrumentation_corevital.store.span_rows import rows_of
from tests.support.hostile_stores import DATA as DAMAGED_DATA
from tests.support.hostile_stores import GOOD, STEERING, span
from tests.support.logs_and_metrics import KEY, chunk_records, emitted, in_span, log
from tests.support.spans import make_spans, rows, run_code

DATA = random.Random(7).randbytes(1000)


def stored(path: Path) -> list[bytes]:
    """Return all run data; chunks must not be left."""
    assert rows(path, "SELECT count(*) FROM run_data_chunks") == [(0,)]
    return [data for (data,) in rows(path, "SELECT data FROM run_data")]


def export(path: Path, *batches: list[ReadableLogRecord]) -> SQLiteLogExporter:
    exporter = SQLiteLogExporter(path)
    for batch in batches:
        exporter.export(batch)
        assert exporter.force_flush()
    exporter.shutdown()
    return exporter


# --- damage, which lists name ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_first", [True, False])
def test_the_row_names_damaged_data_whichever_comes_first_until_others_replace_them(
    data_first: bool, tmp_path: Path
) -> None:
    made = rows_of(span(1, {semconv.RISK_SCORE: "high", STEERING: 1}))
    key = made.span[:2]
    wrong = whole_run_data(*key, DAMAGED_DATA["steering name"])
    writer = StoreWriter(tmp_path / "runs.db")
    for record in (wrong, made) if data_first else (made, wrong):
        assert writer.store([record], timeout=60).durable
    with open_store(tmp_path / "runs.db") as store:
        (listed,) = store.runs()
        whole = store.load(listed)
    assert listed.damage["corevital.risk.score"] == "is a text, not a number"
    assert any("\\x1b" in name for name in listed.damage)
    assert listed.damage == whole.damage, "each is named once, in the same words"
    for data, named in (
        (GOOD, ["corevital.risk.score"]),
        (DAMAGED_DATA["pickle"], ["corevital.risk.score", "run_data"]),
    ):
        assert writer.store([whole_run_data(*key, data)], timeout=60).durable
        with open_store(tmp_path / "runs.db") as store:
            assert list(store.runs()[0].damage) == named
    assert writer.store([rows_of(span(1, {}))], timeout=60).durable, "a second delivery of the span"
    writer.close()
    with open_store(tmp_path / "runs.db") as store:
        assert list(store.runs()[0].damage) == ["run_data"]


@pytest.mark.parametrize("text", ["[1]", "}{", '{"a": 1}', b"\xff", 7, "[" * 100_000])
def test_a_row_whose_damage_is_none_is_damaged(text: object, tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "runs.db")
    assert writer.store([rows_of(span(1, {}))], timeout=60).durable
    writer.close()
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection, connection:
        connection.execute("UPDATE runs SET damage = ?", (text,))
    with open_store(tmp_path / "runs.db") as store:
        assert store.runs()[0].damage == {"damage": "is no JSON object of texts"}


# --- whole -------------------------------------------------------------------------------------------------------


def test_run_data_is_read_with_its_run(tmp_path: Path) -> None:
    path, spans = tmp_path / "runs.db", make_spans(2)
    context = spans[0].context
    assert context is not None
    chunks = emitted(*chunk_records(DATA, 300, context=in_span(context.trace_id, context.span_id)))
    export(path, chunks)
    exporter = SQLiteSpanExporter(path)  # the span comes after its data, and a second time
    exporter.export(spans)
    exporter.export(spans)
    exporter.shutdown()
    with open_store(path) as store:
        key = (format_trace_id(context.trace_id), format_span_id(context.span_id))
        found = {(run.trace_id, run.span_id): run for run in store.runs()}
        assert store.run_data(found.pop(key)) == DATA
        assert store.run_data(store.run(key[0])) == DATA
        (other,) = found.values()
        assert store.run_data(other) is None
    assert rows(path, "SELECT count(*) FROM logs") == [(0,)]


@given(
    data=st.binary(min_size=1, max_size=60),
    chunk_bytes=st.integers(1, 60),
    order=st.randoms(use_true_random=False),
    batch=st.integers(1, 20),
    twice=st.booleans(),
    text=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_chunks_come_in_any_order_and_batches_and_twice(
    data: bytes, chunk_bytes: int, order: random.Random, batch: int, twice: bool, text: bool
) -> None:
    records = chunk_records(data, chunk_bytes, body=(lambda chunk: base64.b64encode(chunk).decode()) if text else bytes)
    chunks = emitted(*records) * (2 if twice else 1)
    order.shuffle(chunks)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        exporter = export(path, *(chunks[start : start + batch] for start in range(0, len(chunks), batch)))
        assert (exporter.dropped, exporter.last_error) == (0, None)
        assert stored(path) == [data]


def test_other_data_of_the_same_run_replaces_the_first(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    export(path, emitted(*chunk_records(DATA, 300)), emitted(*chunk_records(DATA[::-1], 100)))
    assert stored(path) == [DATA[::-1]]


def test_two_runs_in_turn_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    first = emitted(*chunk_records(DATA, 100))
    second = emitted(*chunk_records(DATA, 100, context=in_span(span_id=5)))  # the same bytes of another run
    exporter = export(path, [chunk for pair in zip(first, second, strict=True) for chunk in pair][:-1])
    assert rows(path, "SELECT span_id FROM run_data") == [(KEY[1],)]
    assert rows(path, "SELECT count(*) FROM run_data_chunks") == [(9,)]
    export(path, second[-1:])
    assert stored(path) == [DATA, DATA]
    assert exporter.dropped == 0


def test_processes_that_store_a_chunk_each_join_them_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    code = """
        import random, sys
        from tests.support.logs_and_metrics import chunk_records, emitted
        from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter
        path, part = sys.argv[1], int(sys.argv[2])
        chunks = emitted(*chunk_records(random.Random(7).randbytes(1000), 25))[part::3]
        exporter = SQLiteLogExporter(path)
        for chunk in chunks:
            exporter.export([chunk])
            exporter.force_flush()
        exporter.shutdown()
        assert (exporter.dropped, exporter.last_error) == (0, None)
    """
    processes = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path), str(part)]) for part in range(3)
    ]
    assert [process.wait(60) for process in processes] == [0] * 3
    assert stored(path) == [DATA]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_completes_what_its_parent_began(tmp_path: Path) -> None:
    code = """
        import os, random, sys
        from tests.support.logs_and_metrics import chunk_records, emitted
        from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter
        chunks = emitted(*chunk_records(random.Random(7).randbytes(1000), 100))
        exporter = SQLiteLogExporter(sys.argv[1])
        exporter.export(chunks[:4])
        exporter.force_flush()
        child = os.fork()
        if child == 0:
            exporter.export(chunks[7:])
            exporter.shutdown()
            os._exit(0 if exporter.last_error is None else 1)
        exporter.export(chunks[4:7])
        assert os.waitpid(child, 0)[1] == 0
        exporter.shutdown()
        assert (exporter.dropped, exporter.last_error) == (0, None)
    """
    found = run_code(code, str(tmp_path / "runs.db"))
    assert found.returncode == 0, found.stderr
    assert stored(tmp_path / "runs.db") == [DATA]


# --- damaged -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"RUN_DATA_CHUNK_INDEX": None}, "no integer"),
        ({"RUN_DATA_CHUNK_INDEX": "0"}, "no integer"),
        ({"RUN_DATA_CHUNK_INDEX": True}, "no integer"),
        ({"RUN_DATA_CHUNK_COUNT": 2.0}, "no integer"),
        ({"RUN_DATA_SIZE": 2**70}, "no integer"),
        ({"RUN_DATA_CHUNK_INDEX": 2}, "not below its count"),
        ({"RUN_DATA_CHUNK_INDEX": -1}, "not below its count"),
        ({"RUN_DATA_CHUNK_COUNT": 10**9}, "not possible with its size"),
        ({"RUN_DATA_SIZE": 0}, "not between 1"),
        ({"RUN_DATA_SIZE": MAX_BYTES + 1}, "not between 1"),
        ({"RUN_DATA_SIZE": 100}, "do not fit its size"),
        ({"RUN_DATA_CHUNK_COUNT": 1, "RUN_DATA_CHUNK_INDEX": 0}, "do not fit its size"),
        ({"RUN_DATA_SHA256": None}, "64 hexadecimal"),
        ({"RUN_DATA_SHA256": "0" * 63 + "g"}, "64 hexadecimal"),
        ({"RUN_DATA_SHA256": 7}, "64 hexadecimal"),
        ({"body": lambda chunk: {"data": chunk}}, "neither bytes nor base64"),
        ({"body": lambda chunk: None}, "neither bytes nor base64"),
        ({"body": lambda chunk: "a chunk of \N{SNOWMAN}"}, "not base64"),
        ({"body": lambda chunk: b""}, "do not fit its size"),
        ({"context": in_span(0, 0)}, "belongs to no span"),
    ],
)
def test_a_malformed_chunk_is_counted_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: str
) -> None:
    exporter = SQLiteLogExporter(tmp_path / "runs.db")
    bad, _ = emitted(*chunk_records(DATA, 500, **changes))
    good = emitted(*chunk_records(DATA, 500, context=in_span(9, 9)), log("another"))
    assert exporter.export([bad, *good]) is LogRecordExportResult.FAILURE
    exporter.shutdown()
    assert exporter.dropped == 1
    (told,) = caplog.records
    assert reason in told.getMessage()
    assert stored(tmp_path / "runs.db") == [DATA]
    assert rows(tmp_path / "runs.db", "SELECT body FROM logs") == [('"another"',)]


def test_joined_data_of_another_digest_is_given_up_and_can_come_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, right = tmp_path / "runs.db", emitted(*chunk_records(DATA, 400))
    wrong = emitted(*chunk_records(DATA, 400, body=lambda chunk: chunk[::-1]))
    exporter = export(path, [*right[:2], wrong[2]])
    assert (exporter.dropped, stored(path)) == (3, [])
    assert "SHA-256 is another" in str(exporter.last_error)
    assert "SHA-256 is another" in caplog.text
    assert export(path, right).dropped == 0
    assert stored(path) == [DATA]


def test_joined_data_of_another_size_is_given_up(tmp_path: Path) -> None:
    exporter = export(tmp_path / "runs.db", emitted(*chunk_records(DATA, 400, body=lambda chunk: chunk[:-1])))
    assert "another size" in str(exporter.last_error)
    assert (exporter.dropped, stored(tmp_path / "runs.db")) == (3, [])


@pytest.mark.parametrize("when", [0, 2, 4])
def test_a_chunk_that_disagrees_with_its_others_does_not_take_them_along(tmp_path: Path, when: int) -> None:
    chunks = emitted(*chunk_records(DATA, 250))
    (liar, *_) = emitted(*chunk_records(DATA, 250, RUN_DATA_SIZE=len(DATA) + 1))
    exporter = export(tmp_path / "runs.db", *([chunk] for chunk in [*chunks[:when], liar, *chunks[when:]]))
    assert (exporter.dropped, stored(tmp_path / "runs.db")) == (1, [DATA])


def test_chunks_that_wait_in_vain_are_given_up_after_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "runs.db"
    export(path, emitted(*chunk_records(DATA, 100))[:7])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE run_data_chunks SET received_ns = received_ns - ?", (PATIENCE_NS,))
    export(path, emitted(*chunk_records(DATA, 100, context=in_span(8, 8)))[:2])
    assert rows(path, "SELECT DISTINCT span_id FROM run_data_chunks") == [(f"{8:016x}",)]
    assert "waited a day" in caplog.text
