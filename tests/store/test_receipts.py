"""What `StoreWriter.store` says is stored is committed; the rest it tells apart."""

import threading
import time
from dataclasses import replace
from pathlib import Path

from opentelemetry_instrumentation_corevital.store import StoreWriter
from opentelemetry_instrumentation_corevital.store.database import open_database
from opentelemetry_instrumentation_corevital.store.log_rows import log_record
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from tests.support.logs_and_metrics import chunk_records, emitted
from tests.support.spans import make_spans, rows, run_code


def test_a_receipt_comes_when_the_rows_are_there(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writer = StoreWriter(path, synchronous="FULL")
    spans = [span_rows(span) for span in make_spans(3)]
    receipt = writer.store(spans)
    assert rows(path, "SELECT count(*) FROM runs") == [(3,)]
    assert (receipt.complete, receipt.durable, receipt.stored_records, receipt.reasons) == (True, True, 3, [])
    assert writer._file.connection is not None
    assert writer._file.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer.store([]).durable
    writer.close()
    closed = writer.store(spans)
    assert (closed.failed_records, closed.durable) == (3, False)
    assert "is closed" in closed.reasons[0]


def test_callers_at_once_get_receipts_of_their_own(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "runs.db")
    counts: list[int] = []

    def call(size: int) -> None:
        counts.append(writer.store([span_rows(span) for span in make_spans(size)]).stored_records)

    threads = [threading.Thread(target=call, args=(size,)) for size in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert sorted(counts) == list(range(1, 9))
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM runs") == [(sum(range(1, 9)),)]


def test_malformed_and_unwritable_records_are_told_apart(tmp_path: Path) -> None:
    good, other = (span_rows(span) for span in make_spans(2))
    bad = replace(other, span=tuple(2**70 if cell == other.span[6] else cell for cell in other.span))
    writer = StoreWriter(tmp_path / "runs.db")
    receipt = writer.store([good, bad])
    assert (receipt.stored_records, receipt.rejected_records, receipt.failed_records) == (1, 1, 0)
    chunks = [log_record(data) for data in emitted(*chunk_records(b"x" * 30, 10, RUN_DATA_SHA256="0" * 64))]
    receipt = writer.store(chunks)
    assert (receipt.stored_records, receipt.rejected_records) == (2, 1)
    assert "SHA-256" in receipt.reasons[0]
    writer.close()
    folder = tmp_path / "folder.db"
    folder.mkdir()
    unwritable = StoreWriter(folder)
    receipt = unwritable.store([good, bad])
    assert (receipt.failed_records, receipt.rejected_records) == (2, 0)
    assert "is a folder" in receipt.reasons[0]


def test_all_fits_or_none_is_taken_and_a_full_queue_answers_at_once(tmp_path: Path) -> None:
    spans = [span_rows(span) for span in make_spans(4)]
    writer = StoreWriter(tmp_path / "runs.db", queue_bytes=3 * spans[0].bytes)
    started = time.monotonic()
    receipt = writer.store(spans)
    assert time.monotonic() - started < 1
    assert (receipt.failed_records, receipt.stored_records) == (4, 0)
    assert "too much waits" in receipt.reasons[0]
    assert writer.store(spans[:2]).durable
    writer.close()


def test_a_receipt_that_comes_too_late_says_that_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    writer = StoreWriter(path)
    with writer._lock:
        receipt = writer.store([span_rows(span) for span in make_spans()], timeout=0.1)
        assert not receipt.complete
        assert not receipt.durable
    assert receipt.wait(10)
    assert receipt.durable
    writer.close()


def test_an_interrupted_program_stores_what_it_has_exported(tmp_path: Path) -> None:
    """Ctrl-C: KeyboardInterrupt in the main thread, then the interpreter's ordinary end."""
    code = """
        import os, signal, sys, threading, time
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from tests.support.spans import make_spans
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
        exporter = SQLiteSpanExporter(sys.argv[1])
        spans = make_spans(400, events=60)
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        count = 0
        try:
            for span in spans:
                exporter.export([span])
                count += 1
            time.sleep(10)
        finally:
            print(count, flush=True)
    """
    path = tmp_path / "runs.db"
    found = run_code(code, str(path))
    assert "KeyboardInterrupt" in found.stderr
    assert "corevital" not in found.stderr.lower().replace(str(tmp_path), "").partition("keyboardinterrupt")[2]
    # The interrupt may come while an export waits: its span is stored, too, and was not counted.
    assert rows(path, "SELECT count(*) FROM runs")[0][0] - int(found.stdout) in (0, 1)
    assert not Path(f"{path}-wal").exists(), "the file was not closed"
