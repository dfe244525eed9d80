"""OTLP over gRPC, against a receiver in a process of its own."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.support.collect_process import EXPORT, Collecting, collecting, spans_request
from tests.support.spans import rows


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collecting]:
    with collecting(tmp_path_factory.mktemp("grpc")) as running:
        yield running


@contextmanager
def channel(receiver: Collecting) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc}", [("grpc.max_send_message_length", -1)]) as opened:
        yield opened


def failure(receiver: Collecting, body: bytes, *metadata: tuple[str, str], compression: Any = None) -> grpc.RpcError:
    with channel(receiver) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary(EXPORT)(body, metadata=metadata, compression=compression, timeout=60)
    return caught.value


def retry_seconds(error: Any) -> int | None:
    """Return after how many seconds the sender is asked to try again; None: not at all."""
    found = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    for detail in Status.FromString(found).details if found else ():
        info = RetryInfo()
        if detail.Unpack(info):
            return int(info.retry_delay.seconds)
    return None


def test_all_three_services_answer(receiver: Collecting) -> None:
    with channel(receiver) as opened:
        assert not TraceServiceStub(opened).Export(spans_request(2, seed=1)).HasField("partial_success")
        LogsServiceStub(opened).Export(ExportLogsServiceRequest())
        MetricsServiceStub(opened).Export(ExportMetricsServiceRequest())
    assert rows(receiver.db, "SELECT count(*) FROM spans") == [(2,)]


def test_partial_success(receiver: Collecting) -> None:
    request = spans_request(2, seed=2)
    request.resource_spans[0].scope_spans[0].spans[0].span_id = b""
    with channel(receiver) as opened:
        answer = TraceServiceStub(opened).Export(request)
    assert answer.partial_success.rejected_spans == 1
    assert "its ids are not" in answer.partial_success.error_message


def test_what_can_never_be_accepted(receiver: Collecting) -> None:
    error = failure(receiver, b"not protobuf")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert retry_seconds(error) is None
    for size, compression in ((33, None), (33, grpc.Compression.Gzip), (500, grpc.Compression.Gzip)):
        error = failure(receiver, bytes(size * 1024 * 1024), compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert "larger than max" in error.details()  # type: ignore[attr-defined]
        assert retry_seconds(error) is None  # without it a Collector gives up
    with channel(receiver) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Import")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_without_a_message(receiver: Collecting) -> None:
    with channel(receiver) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.stream_unary(EXPORT)(iter(()), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_store_that_cannot_be_written_asks_to_come_again(tmp_path: Path) -> None:
    body = spans_request(1).SerializeToString()
    with collecting(tmp_path) as receiver:
        with closing(sqlite3.connect(receiver.db)) as other:
            other.execute("BEGIN IMMEDIATE")
            error = failure(receiver, body)
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
            assert retry_seconds(error) == 5
        with channel(receiver) as opened:
            assert opened.unary_unary(EXPORT)(body, timeout=60) == b""
        assert rows(receiver.db, "SELECT count(*) FROM spans") == [(1,)]


def test_only_who_knows_the_token_comes_in(tmp_path: Path) -> None:
    body = spans_request(1).SerializeToString()
    with collecting(tmp_path, environment={"COREVITAL_COLLECT_TOKEN": "s3cret"}) as receiver:
        for wrong in ((), (("authorization", "Bearer s3cre"),), (("authorization", "s3cret"),)):
            error = failure(receiver, body, *wrong)
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
            assert retry_seconds(error) is None
        with channel(receiver) as opened:
            assert opened.unary_unary(EXPORT)(body, metadata=(("authorization", "Bearer s3cret"),)) == b""
        assert receiver.metric("corevital_receiver_requests_total", authorization="Bearer s3cret") == 4


def test_more_requests_than_can_wait_are_told_to_come_again(tmp_path: Path) -> None:
    bodies = [spans_request(1, seed=seed).SerializeToString() for seed in range(100)]
    answers: list[Any] = []
    with collecting(tmp_path) as receiver, closing(sqlite3.connect(receiver.db)) as other:
        other.execute("BEGIN IMMEDIATE")  # the disk is slow: requests wait

        def send(body: bytes) -> None:
            own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own, as another program has
            with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc}", own) as opened:
                try:
                    opened.unary_unary(EXPORT)(body, timeout=60)
                except grpc.RpcError as error:
                    answers.append(error)

        threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        other.rollback()
        found = {(error.code(), retry_seconds(error), error.details()) for error in answers}
        assert found == {
            (grpc.StatusCode.UNAVAILABLE, 5, "the store cannot be written."),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, 1, "too many requests wait here."),
        }
        assert len(answers) == 100
        with channel(receiver) as opened:
            for body in bodies:
                assert opened.unary_unary(EXPORT)(body, timeout=30) == b""
        assert rows(receiver.db, "SELECT count(*) FROM spans") == [(100,)]
