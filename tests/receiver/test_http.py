"""OTLP over HTTP, against a receiver in a process of its own."""

import contextlib
import gzip
import json
import random
import resource
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from opentelemetry_instrumentation_corevital.store.maintenance import check
from tests.support.collect_process import JSON, PROTOBUF, Collecting, collecting, get_json, spans_request
from tests.support.spans import rows


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collecting]:
    with collecting(tmp_path_factory.mktemp("http")) as running:
        yield running


def stored(receiver: Collecting, seed: int) -> int:
    trace_id = f"{seed + 1:032x}"
    return rows(receiver.db, f"SELECT count(*) FROM spans WHERE trace_id = '{trace_id}'")[0][0]  # type: ignore[no-any-return]


def test_protobuf_is_stored_before_it_is_acknowledged(receiver: Collecting) -> None:
    code, headers, body = receiver.post(spans_request(3, seed=1).SerializeToString())
    assert (code, headers["content-type"], body) == (200, PROTOBUF, b"")
    assert stored(receiver, 1) == 3


def test_gzip_and_deflate(receiver: Collecting) -> None:
    body = gzip.compress(spans_request(3, seed=2).SerializeToString())
    assert receiver.post(body, content_encoding="gzip")[0] == 200
    assert receiver.post(body, content_encoding="GZIP")[0] == 200
    assert receiver.post(spans_request(1, seed=2).SerializeToString(), content_encoding="identity")[0] == 200
    assert stored(receiver, 2) == 3


def test_json_is_answered_in_json(receiver: Collecting) -> None:
    message = MessageToDict(spans_request(2, seed=3))
    spans = message["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for index, span in enumerate(spans):
        span["traceId"], span["spanId"] = f"{4:032x}", f"{index + 1:016x}"
    spans.append({"traceId": "00", "spanId": "00", "name": "none"})
    code, headers, body = receiver.post(json.dumps(message).encode(), kind="application/json; charset=utf-8")
    assert (code, headers["content-type"]) == (200, JSON)
    assert json.loads(body) == {
        "partialSuccess": {
            "rejectedSpans": "1",
            "errorMessage": "a span was left out: its ids are not 16 and 8 bytes.",
        }
    }
    assert stored(receiver, 3) == 2


def test_a_partial_success_in_protobuf(receiver: Collecting) -> None:
    request = spans_request(2, seed=4)
    request.resource_spans[0].scope_spans[0].spans[0].span_id = b""
    code, _, body = receiver.post(request.SerializeToString())
    assert code == 200
    assert ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans == 1
    assert stored(receiver, 4) == 1


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "code"),
    [
        (b"not protobuf", PROTOBUF, "", 400),
        (b"{", JSON, "", 400),
        (b"not gzip", PROTOBUF, "gzip", 400),
        (b"", "text/plain", "", 415),
        (b"", "", "", 415),
        (b"", PROTOBUF, "zstd", 415),
        (bytes(33 * 1024 * 1024), PROTOBUF, "", 413),
        (b" " * (9 * 1024 * 1024), JSON, "", 413),
        (gzip.compress(bytes(33 * 1024 * 1024)), PROTOBUF, "gzip", 413),
    ],
    ids=range(9),
)
def test_what_can_never_be_accepted(receiver: Collecting, body: bytes, kind: str, encoding: str, code: int) -> None:
    found, headers, answer = receiver.post(body, kind=kind, **({"content_encoding": encoding} if encoding else {}))
    assert found == code
    assert "retry-after" not in headers
    message = json.loads(answer)["message"] if kind == JSON else Status.FromString(answer).message
    assert message.endswith(".")
    if code == 415:
        assert headers["accept-encoding"] == "gzip, deflate"


def test_other_paths_and_methods(receiver: Collecting) -> None:
    assert receiver.post(b"", "/v1/profiles")[0] == 404
    assert receiver.request("GET", "/v1/traces")[0] == 405
    for path in ("/v1/traces", "/v1/logs", "/v1/metrics"):
        assert receiver.post(b"", path)[0] == 200


def test_health_and_metrics(receiver: Collecting) -> None:
    assert get_json(receiver.http, "/healthz") == (200, {"status": "ok"})
    before = receiver.metric("corevital_receiver_requests_total")
    receiver.post(spans_request(1, seed=5).SerializeToString())
    receiver.post(b"not protobuf")
    assert receiver.metric("corevital_receiver_requests_total") == before + 2
    assert receiver.metric("corevital_receiver_store_writable") == 1
    assert receiver.metric("process_resident_memory_bytes") > 1_000_000
    assert receiver.metric("corevital_receiver_waiting_bytes") == 0
    assert receiver.metric("corevital_receiver_requests_current") == 0


def test_a_store_that_cannot_be_written_asks_to_come_again(tmp_path: Path) -> None:
    body = spans_request(1, seed=6).SerializeToString()
    with collecting(tmp_path) as receiver:
        with closing(sqlite3.connect(receiver.db)) as other:
            other.execute("BEGIN IMMEDIATE")
            code, headers, answer = receiver.post(body)
            assert (code, headers["retry-after"]) == (503, "5")
            (detail,) = Status.FromString(answer).details
            info = RetryInfo()
            assert detail.Unpack(info)
            assert info.retry_delay.seconds == 5
            assert get_json(receiver.http, "/healthz")[0] == 503
            assert receiver.metric("corevital_receiver_store_writable") == 0
        assert receiver.post(body)[0] == 200
        assert get_json(receiver.http, "/healthz")[0] == 200
        assert stored(receiver, 6) == 1
        assert receiver.stop() == 0
        log = receiver.log.read_text()
        assert "is locked by another program" in log
        assert "can be written again" in log
        assert log.rstrip().endswith("stopped; what was acknowledged is stored")


def test_a_full_disk_asks_to_come_again(tmp_path: Path) -> None:
    with collecting(tmp_path) as receiver:
        assert receiver.post(spans_request(1, seed=6).SerializeToString())[0] == 200
        before = resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE, (2**20, before[1]))  # as if it were full
        body = spans_request(400, seed=8, text=random.Random(1).randbytes(2000).hex()).SerializeToString()
        for _ in range(2):
            code, headers, _ = receiver.post(body)
            assert (code, headers["retry-after"]) == (503, "5")
        assert get_json(receiver.http, "/healthz")[0] == 503
        resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE, before)
        assert receiver.post(body)[0] == 200
        assert stored(receiver, 8) == 400
        assert get_json(receiver.http, "/healthz")[0] == 200
        assert receiver.stop() == 0
    assert check(receiver.db) == []


@pytest.mark.parametrize("given", ["option", "variable"])
def test_only_who_knows_the_token_comes_in(tmp_path: Path, given: str) -> None:
    arguments = ("--token", "s3cret") if given == "option" else ()
    environment = {} if given == "option" else {"COREVITAL_COLLECT_TOKEN": "s3cret"}
    body = spans_request(1, seed=7).SerializeToString()
    with collecting(tmp_path, *arguments, environment=environment) as receiver:
        for wrong in (
            None,
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3crett",
            "s3cret",
            "Basic s3cret",
            "Bearer \xff",
        ):
            headers = {} if wrong is None else {"authorization": wrong}
            code, found, _ = receiver.post(body, **headers)
            assert (code, found["www-authenticate"]) == (401, "Bearer"), wrong
        assert receiver.request("GET", "/metrics")[0] == 401
        assert receiver.request("GET", "/healthz")[0] == 200
        assert stored(receiver, 7) == 0
        for right in ("Bearer s3cret", "bearer  s3cret"):
            assert receiver.post(body, authorization=right)[0] == 200
        assert receiver.request("GET", "/metrics", None, {"authorization": "Bearer s3cret"})[0] == 200
        assert stored(receiver, 7) == 1
        assert "s3cret" not in receiver.log.read_text()


@pytest.mark.parametrize("path", ["/v1/traces/", "/healthz/", "/metrics/"])
def test_a_slash_too_many_is_redirected_nowhere(receiver: Collecting, path: str) -> None:
    for method in ("GET", "POST"):
        code, headers, _ = receiver.request(method, path, b"", {"host": "elsewhere.example"})
        assert code == 404
        assert "location" not in headers


@pytest.mark.parametrize(
    ("version", "more"),
    [("1.1", b"content-length: 5\r\n"), ("1.0", b""), ("1.1", b"Content-Length: 0\r\n")],
    ids=["both", "not of HTTP 1.0", "both, without a body"],
)
@pytest.mark.parametrize("path", ["/v1/traces", "/healthz"])
def test_a_length_that_is_given_twice_is_refused_and_the_connection_closed(
    receiver: Collecting, version: str, more: bytes, path: str
) -> None:
    head = f"POST {path} HTTP/{version}\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\n".encode()
    with socket.create_connection(("127.0.0.1", receiver.http), timeout=10) as connection:
        connection.sendall(
            head + more + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(4096):
                said += piece
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1
