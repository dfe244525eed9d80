"""Bodies that nobody foresaw: any answer but an internal error, nothing half-stored, and the process lives."""

import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from opentelemetry_instrumentation_corevital.store.maintenance import check
from opentelemetry_instrumentation_corevital.store.otlp import key_values
from tests.receiver.collecting import JSON, PROTOBUF, Collecting, collecting, spans_request
from tests.receiver.test_grpc import EXPORT
from tests.store.signals import chunk_records, emitted, in_span

BODIES = 50_000
SENDERS = 8
_PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics")
_ODD = (
    b"\x00",
    b"\xff",
    b"\x80",
    b"\x7f",
    b"\xff" * 9 + b"\x01",
    b"\x0a",
    b"\x12\x00",
    b"\x1f\x8b",
    b"[",
    b"{",
    b'"',
    b"-1",
)


def seeds() -> list[tuple[str, bytes]]:
    """Return good requests of every kind, with all that a field may hold."""
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

    traces = spans_request(
        3, text="ü", number=-(2**63), real=1.5, flag=True, list=[1, "a", [2.5]], map={"a": {"b": None}}
    )
    span = traces.resource_spans[0].scope_spans[0].spans[0]
    span.events.add(name="event", time_unix_nano=5).attributes.extend(key_values({"x": 1.0}))
    span.links.add(trace_id=b"1" * 16, span_id=b"2" * 8)
    span.attributes.extend(key_values({"corevital.steps.total": 3, "corevital.risk.score": 0.5}))
    logs = encode_logs(emitted(*chunk_records(bytes(range(256)) * 8, 700, context=in_span())))
    records = ExportLogsServiceRequest.FromString(logs.SerializeToString())
    more = records.resource_logs[0].scope_logs[0].log_records.add(observed_time_unix_nano=5, event_name="event")
    more.body.kvlist_value.values.extend(key_values({"a": [1, b"bytes"]}))
    metrics = ExportMetricsServiceRequest()
    found = metrics.resource_metrics.add().scope_metrics.add().metrics
    point = found.add(name="gauge").gauge.data_points.add(as_double=float("nan"), time_unix_nano=1)
    point.exemplars.add(as_int=3, trace_id=b"1" * 16, span_id=b"2" * 8)
    found.add(name="sum").sum.data_points.add(as_int=3, time_unix_nano=1)
    histogram = found.add(name="histogram").histogram.data_points.add(count=2, sum=3.0, time_unix_nano=1)
    histogram.explicit_bounds.extend([1.0, 2.0])
    histogram.bucket_counts.extend([0, 1, 1])
    found.add(name="exponential").exponential_histogram.data_points.add(count=1, scale=-3, time_unix_nano=1)
    found.add(name="summary").summary.data_points.add(count=1)
    good = []
    for path, request in zip(_PATHS, (traces, records, metrics), strict=True):
        good += [(path, request.SerializeToString()), (path, MessageToJson(request, indent=None).encode())]
    return good


def mutated(body: bytes, chance: random.Random) -> bytes:
    """Return a body with up to four changes: bits, pieces, lengths, numbers."""
    changed = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(6)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at : at + chance.randint(1, 9)] = b""
        elif kind == 2:
            changed[at:at] = chance.choice(_ODD)
        elif kind == 3:
            changed[at:at] = changed[at : at + chance.randint(1, 60)]
        elif kind == 4 and changed:
            changed[at % len(changed)] = chance.randrange(256)
        else:
            changed[at : at + 4] = chance.randbytes(chance.randint(0, 8))
    return bytes(changed)


def json_mutated(body: bytes, chance: random.Random) -> bytes:
    """Return JSON with a value of another kind somewhere."""
    value: Any = json.loads(body)
    holder: Any = value
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = chance.choice(keys)
        inner = holder[key]
        if not inner or not isinstance(inner, dict | list) or chance.random() < 0.15:
            holder[key] = chance.choice([None, True, -1, 2**70, 1e308, "", "x", "NaN", [], {}, [[]], {"a": {}}, inner])
            return json.dumps(value).encode()
        holder = inner


def bodies(count: int, seed: int = 0) -> Iterator[tuple[str, bytes, str, str]]:
    """Yield path, body, content type and encoding."""
    chance, good = random.Random(seed), seeds()
    for _ in range(count):
        path, body = chance.choice(good)
        is_json = body.startswith(b"{")
        change: Callable[[bytes, random.Random], bytes] = mutated
        if is_json and chance.random() < 0.6:
            change = json_mutated
        body = change(body, chance)
        kind = JSON if is_json else PROTOBUF
        if chance.random() < 0.02:
            path, kind = chance.choice(_PATHS), chance.choice((JSON, PROTOBUF))
        encoding = ""
        if chance.random() < 0.1:
            encoding, body = "gzip", gzip.compress(body, 1)
            if chance.random() < 0.5:
                body = mutated(body, chance)
        yield path, body, kind, encoding


def fuzz(receiver: Collecting, count: int, seed: int) -> Counter[object]:
    """Send bodies over both protocols and return how many got which answer."""
    import http.client

    found: Counter[object] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", receiver.http, timeout=60)
    with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc}") as channel:
        call = channel.unary_unary(EXPORT)
        for number, (path, body, kind, encoding) in enumerate(bodies(count, seed)):
            if number % 5 == 0 and kind == PROTOBUF and not encoding:
                try:
                    call(body, timeout=60)
                    found["OK"] += 1
                except grpc.RpcError as error:
                    found[error.code().name] += 1
                continue
            connection.request("POST", path, body, {"content-type": kind, "content-encoding": encoding})
            answer = connection.getresponse()
            answer.read()
            found[answer.status] += 1
    connection.close()
    return found


@pytest.mark.parametrize("count", [1_000, pytest.param(BODIES, marks=pytest.mark.acceptance)])
def test_any_body_gets_an_answer_and_nothing_breaks(tmp_path: Path, count: int) -> None:
    seed = int(os.environ.get("COREVITAL_FUZZ_SEED", "0"))
    with collecting(tmp_path) as receiver:
        fuzz(receiver, 200, seed + SENDERS)
        before = receiver.resident
        with ThreadPoolExecutor(SENDERS) as pool:  # together, as senders come: each answer waits for the disk
            shares = pool.map(lambda sender: fuzz(receiver, count // SENDERS, seed + sender), range(SENDERS))
            found = sum(shares, Counter())
        grown = receiver.peak - before
        print(f"{count} bodies: {dict(found)}, memory grew by {grown / 2**20:.1f} MiB")
        assert found.total() == count
        assert set(found) == {200, 400, "OK", "INVALID_ARGUMENT"}, found  # neither 5xx nor a hang-up
        assert min(found.values()) > count / 200
        assert grown < 64 * 1024 * 1024
        assert receiver.post(spans_request(1, seed=77).SerializeToString())[0] == 200
        assert receiver.stop() == 0
        assert "internal error" not in receiver.log.read_text()
        assert receiver.log.read_text().count("\n") == 2  # where it listens, and that it stopped
    assert check(receiver.db) == []
