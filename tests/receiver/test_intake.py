"""From bytes to the store: what is stored, what is left out, and what a sender is told."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from opentelemetry_instrumentation_corevital.receiver.answers import Accepted, Fault, Refused, RetryLater
from opentelemetry_instrumentation_corevital.receiver.intake import Intake
from opentelemetry_instrumentation_corevital.receiver.otlp_signals import SIGNALS
from opentelemetry_instrumentation_corevital.receiver.sender_limits import Limits
from opentelemetry_instrumentation_corevital.store import StoreWriter
from opentelemetry_instrumentation_corevital.store.otlp import key_values
from tests.support.collect_process import spans_request
from tests.support.spans import rows

TRACES, LOGS, METRICS = SIGNALS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def take(path: Path, request: Any, *, limits: Limits | None = None, signal: Any = TRACES) -> Any:
    writer = StoreWriter(path, synchronous="FULL", patience=0.2)
    try:
        body = request if isinstance(request, bytes) else request.SerializeToString()
        return Intake(writer, limits or Limits()).take(signal, body)
    finally:
        writer.close()


def spans_of(request: ExportTraceServiceRequest) -> Any:
    return request.resource_spans[0].scope_spans[0].spans


def test_an_empty_request_is_accepted(path: Path) -> None:
    for signal in SIGNALS:
        assert take(path, b"", signal=signal) == Accepted()


def test_more_than_one_transaction_takes_is_stored_whole_and_once(path: Path) -> None:
    request = spans_request(1300, answer=42)
    for _ in range(2):
        assert take(path, request) == Accepted()
    assert rows(path, "SELECT count(*), count(DISTINCT span_id) FROM spans") == [(1300, 1300)]
    assert rows(path, "SELECT DISTINCT attributes FROM spans") == [('{"answer":42}',)]


def test_spans_that_cannot_be_stored_are_left_out_and_counted(path: Path) -> None:
    request = spans_request(6)
    spans = spans_of(request)
    spans[0].span_id = b"short"
    spans[1].start_time_unix_nano = 2**63
    spans[2].events.add(time_unix_nano=2**64 - 1)
    spans[3].attributes.extend(key_values({f"a{index}": index for index in range(11)}))
    spans[4].links.add().attributes.extend(key_values({f"a{index}": index for index in range(11)}))
    answer = take(path, request, limits=Limits(attributes=10))
    assert answer.rejected == 5
    for reason in ("its ids are not 16 and 8 bytes", "beyond 2^63 - 1", "more than 10 attributes"):
        assert reason in answer.reason
    assert rows(path, "SELECT span_id FROM spans") == [(f"{6:016x}",)]


def test_an_item_that_is_broken_or_too_large_is_left_out(path: Path) -> None:
    request = spans_request(1, long="x" * 1000)
    packed = bytearray(spans_request(3, text="TEXT").SerializeToString())
    where = packed.find(b"TEXT")
    packed[where : where + 4] = b"\xff\xff\xff\xff"  # not UTF-8
    answer = take(path, bytes(packed) + request.SerializeToString(), limits=Limits(item_bytes=500))
    assert answer.rejected == 2
    assert "is not what OTLP says" in answer.reason
    assert "more than 500 bytes" in answer.reason
    assert rows(path, "SELECT count(*) FROM spans") == [(2,)]


def test_a_resource_beyond_the_limits_takes_its_items_with_it(path: Path) -> None:
    good, bad = spans_request(2), spans_request(3, seed=9)
    bad.resource_spans[0].resource.attributes.extend(key_values({f"a{index}": index for index in range(11)}))
    answer = take(path, good.SerializeToString() + bad.SerializeToString(), limits=Limits(attributes=10))
    assert answer == Accepted(3, "a resource or a scope has too many attributes, or too large ones.")
    assert rows(path, "SELECT count(*) FROM spans") == [(2,)]


def test_what_takes_too_long_to_decode_is_left_out(path: Path) -> None:
    request = spans_request(30, long=[0] * 20_000)
    answer = take(path, request, limits=Limits(decode_seconds=0.1))
    assert 0 < answer.rejected < 30
    assert answer.reason == "decoding the request took more than 0.1 s; send smaller batches."
    assert rows(path, "SELECT count(*) FROM spans") == [(30 - answer.rejected,)]


def test_a_metric_counts_as_its_points(path: Path) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="good").gauge.data_points.add(as_double=1.5, time_unix_nano=1)
    for _ in range(3):
        metrics.add(name="old").summary.data_points.add(time_unix_nano=1)
    bad = metrics.add(name="bad").sum.data_points
    for _ in range(2):
        bad.add(as_int=1, time_unix_nano=2**64 - 1)
    answer = take(path, request, signal=METRICS)
    assert answer.rejected == 5
    assert "its type is summary" in answer.reason
    assert rows(path, "SELECT name FROM metrics") == [("good",)]


def test_a_chunk_of_run_data_that_is_none_is_left_out(path: Path) -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(event_name="corevital.run.data", observed_time_unix_nano=1)
    records.add(observed_time_unix_nano=1).body.string_value = "hello"
    answer = take(path, request, signal=LOGS)
    assert answer.rejected == 1
    assert "a chunk of run data was left out" in answer.reason
    assert rows(path, "SELECT body FROM logs") == [('"hello"',)]


@pytest.mark.parametrize("body", [b"\x0a", b"\xff", b"\x0a\x05hello", b"\x1f\x8b\x08\x00", b"not protobuf"])
def test_what_is_not_otlp_is_refused(path: Path, body: bytes) -> None:
    assert take(path, body) == Refused(Fault.MALFORMED, "the body is not an OTLP request in protobuf.")


def test_too_many_items_are_refused_before_they_are_opened(path: Path) -> None:
    limits = Limits(items=1000)
    for body in (b"\x0a\x00" * 1001, b"\x0a\x04\x12\x02\x12\x00" * 400, spans_request(1000).SerializeToString()):
        answer = take(path, body, limits=limits)
        assert isinstance(answer, Refused)
        assert answer.fault is Fault.TOO_LARGE
    assert not path.exists()


def test_a_locked_file_asks_the_sender_to_come_again(path: Path) -> None:
    assert take(path, spans_request(1)) == Accepted()
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert take(path, spans_request(2)) == RetryLater("the store cannot be written.", 5)
    assert take(path, spans_request(2)) == Accepted()
    assert rows(path, "SELECT count(*) FROM spans") == [(2,)]


def test_a_file_that_cannot_be_written_is_trouble_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.write_text("in the way")
    writer = StoreWriter(folder / "store.db", synchronous="FULL")
    intake = Intake(writer, Limits())
    body = spans_request(1).SerializeToString()
    assert isinstance(intake.take(TRACES, body), RetryLater)
    assert not intake.healthy
    assert "its folder cannot be made" in intake.trouble
    folder.unlink()
    assert intake.take(TRACES, body) == Accepted()
    assert intake.healthy
    assert intake.trouble == ""
    writer.close()


def test_a_full_queue_is_busy_and_a_slow_disk_is_not_acknowledged(path: Path) -> None:
    assert take(path, b"") == Accepted()
    writer = StoreWriter(path, synchronous="FULL", queue_bytes=10)
    answer = Intake(writer, Limits()).take(TRACES, spans_request(1).SerializeToString())
    assert answer == RetryLater("too much waits for the disk.", 1, busy=True)
    writer.close()
    assert take(path, spans_request(1)) == Accepted()
    writer = StoreWriter(path, synchronous="FULL", patience=5.0)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        answer = Intake(writer, replace(Limits(), store_seconds=0.3)).take(TRACES, spans_request(3).SerializeToString())
        assert answer == RetryLater("the store cannot be written.", 5)
        assert time.monotonic() - started < 3
    writer.close()
