"""Bodies of HTTP requests: compressed, in JSON, broken, and made to burst."""

import gzip
import json
import os
import time
import tracemalloc
import zlib

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from opentelemetry_instrumentation_corevital.receiver import bodies
from opentelemetry_instrumentation_corevital.receiver.answers import Fault, RefusedError
from opentelemetry_instrumentation_corevital.receiver.bodies import JSON, PROTOBUF, decompressed, protobuf_of
from opentelemetry_instrumentation_corevital.receiver.otlp_signals import SIGNALS
from opentelemetry_instrumentation_corevital.receiver.sender_limits import MIB, Limits
from tests.support.collect_process import spans_request

TRACES = SIGNALS[0]


def fault_of(body: bytes, encoding: str = "", kind: str = PROTOBUF, limits: Limits | None = None) -> Fault:
    with pytest.raises(RefusedError) as caught:
        protobuf_of(body, encoding, kind, TRACES, limits or Limits())
    return caught.value.answer.fault


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000])
def test_what_is_compressed_comes_back(pack: object, size: int) -> None:
    data = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    assert decompressed(pack(data), size, Limits()) == data  # type: ignore[operator]


def test_several_members_of_gzip_are_one_body() -> None:
    assert (
        decompressed(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"body"), 100, Limits()) == b"one body"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"\x1f\x8b", gzip.compress(b"x" * 999)[:-5], b"\x1f\x8bnot gzip", b"plain"],
    ids=["empty", "its beginning", "cut off", "no gzip", "plain"],  # gzip's bytes hold the time
)
def test_what_is_not_whole_is_refused(body: bytes) -> None:
    assert fault_of(body, "gzip") is Fault.MALFORMED


def test_a_bomb_is_left_alone_at_the_limit() -> None:
    bomb = gzip.compress(bytes(200 * MIB))
    tracemalloc.start()
    try:
        assert fault_of(bomb, "gzip", limits=Limits(body_bytes=4 * MIB)) is Fault.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 10 * MIB
    finally:
        tracemalloc.stop()


def test_the_limit_is_what_may_come() -> None:
    limits = Limits(body_bytes=1000, json_bytes=500)
    assert protobuf_of(gzip.compress(bytes(1000)), "gzip", PROTOBUF, TRACES, limits) == bytes(1000)
    assert fault_of(gzip.compress(bytes(1001)), "gzip", limits=limits) is Fault.TOO_LARGE
    assert fault_of(bytes(1001), limits=limits) is Fault.TOO_LARGE
    assert fault_of(b" " * 501, kind=JSON, limits=limits) is Fault.TOO_LARGE


def test_many_small_things_in_json_are_not_opened() -> None:
    limits = Limits(json_brackets=100)
    assert protobuf_of(b'{"a":[' + b"{}," * 97 + b"{}]}", "", JSON, TRACES, limits) == b""
    for piece in (b"{}", b"[]"):
        body = b'{"resourceSpans":[' + (piece + b",") * 98 + piece + b"]}"
        assert fault_of(body, kind=JSON, limits=limits) is Fault.TOO_LARGE


def test_json_is_that_of_otlp() -> None:
    request = spans_request(2, number=2**40, text="ü", list=[1.5, True])
    as_dict = MessageToDict(request)
    for span in as_dict["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        span["traceId"], span["spanId"] = f"{1:032x}", "ABCDEF0123456789"
    assert as_dict["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"][0]["value"] == {
        "intValue": str(2**40)
    }
    packed = protobuf_of(json.dumps(as_dict).encode(), "", JSON, TRACES, Limits())
    span = ExportTraceServiceRequest.FromString(packed).resource_spans[0].scope_spans[0].spans[0]
    assert (span.trace_id.hex(), span.span_id.hex()) == (f"{1:032x}", "abcdef0123456789")
    assert span.attributes == request.resource_spans[0].scope_spans[0].spans[0].attributes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": [1]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "no"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": 1e99}]}]}]}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"resourceSpans": [{"resource": {"attributes": [{"value": ' + b'{"arrayValue": {"values": [' * 5000,
    ],
    ids=range(11),
)
def test_what_is_not_otlp_in_json_is_malformed(body: bytes) -> None:
    assert fault_of(body, kind=JSON) is Fault.MALFORMED


@pytest.mark.parametrize("mib", [1, 32])
def test_many_empty_members_of_gzip_are_refused_at_once(mib: int) -> None:
    empty = gzip.compress(b"")
    began = time.thread_time()
    assert fault_of(empty * (mib * MIB // len(empty)), "gzip") is Fault.TOO_LARGE
    assert time.thread_time() - began < 5  # it was quadratic: minutes


def test_members_of_ordinary_packers_are_not_too_many() -> None:
    members = b"".join(gzip.compress(bytes(64)) for _ in range(1000))
    assert len(decompressed(members, 64_000, Limits())) == 64_000
    assert fault_of(members, "gzip", limits=Limits(members=999)) is Fault.TOO_LARGE


def test_decompressing_is_bounded_in_time_and_counts_as_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out of nothing: 32 MiB of empty blocks are one member, and no byte."""
    blocks = b"\x78\x9c" + b"\x00\x00\x00\xff\xff" * 100_000
    clock = iter(range(10_000))
    monkeypatch.setattr(bodies.time, "thread_time", lambda: float(next(clock)))  # a second for each piece
    assert fault_of(blocks, "deflate") is Fault.TOO_LARGE
    assert next(clock) < 20


def test_a_body_that_does_not_shrink_is_not_copied_again_and_again() -> None:
    data = os.urandom(24 * MIB)
    packed = gzip.compress(data, 1)
    began = time.thread_time()
    assert decompressed(packed, len(data), Limits()) == data
    assert time.thread_time() - began < 3


def test_json_of_many_values_is_too_large() -> None:
    begin = b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"dataPoints":[{"bucketCounts":['
    body = begin + b"1," * 1_000_000 + b"1]}]}}]}]}]}"
    assert fault_of(body, kind=JSON) is Fault.TOO_LARGE


@pytest.mark.parametrize("value", [b"9" * 400, b"9" * 5000, b"1" + b"e9" * 3], ids=["float", "digits", "nonsense"])
def test_huge_numbers_in_json_are_malformed(value: bytes) -> None:
    body = b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asDouble":%b}]}}]}]}]}' % value
    with pytest.raises(RefusedError) as caught:
        protobuf_of(body, "", JSON, SIGNALS[2], Limits())
    assert caught.value.answer.fault is Fault.MALFORMED
