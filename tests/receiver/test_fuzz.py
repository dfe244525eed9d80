"""Bodies that nobody foresaw: any answer but an internal error, nothing half-stored, and the process lives."""

import gzip
import http.client
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.receiver.otlp_signals import SIGNALS, OtlpSignal
from opentelemetry_instrumentation_corevital.store.maintenance import check
from opentelemetry_instrumentation_corevital.store.otlp import key_values
from opentelemetry_instrumentation_corevital.store.otlp_json import to_line
from tests.support.collect_process import EXPORT, JSON, PROTOBUF, Collecting, collecting, spans_request
from tests.support.logs_and_metrics import chunk_records, emitted, in_span
from tests.support.tiers import heavy

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
        good += [(path, request.SerializeToString()), (path, to_line(request).encode())]
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


@dataclass(frozen=True)
class Body:
    """A request that nobody foresaw."""

    path: str
    content: bytes
    kind: str = PROTOBUF
    encoding: str = ""
    grpc: bool = False


def bodies(count: int, seed: int) -> Iterator[Body]:
    """Yield good requests with something changed, over either protocol; a seed yields the same ones again."""
    chance, good = random.Random(seed), seeds()
    for number in range(count):
        path, content = chance.choice(good)
        is_json = content.startswith(b"{")
        change: Callable[[bytes, random.Random], bytes] = mutated
        if is_json and chance.random() < 0.6:
            change = json_mutated
        content = change(content, chance)
        kind = JSON if is_json else PROTOBUF
        if chance.random() < 0.02:
            path, kind = chance.choice(_PATHS), chance.choice((JSON, PROTOBUF))
        encoding = ""
        if chance.random() < 0.1:
            encoding, content = "gzip", gzip.compress(content, 1)
            if chance.random() < 0.5:
                content = mutated(content, chance)
        yield Body(path, content, kind, encoding, number % 3 == 0 and kind == PROTOBUF and not encoding)


GOOD = {200, 400, "OK", "INVALID_ARGUMENT"}
"""Neither 5xx nor a hang-up. 413, 429 and 503 have no business here: no body is large, and no more wait than may."""


class Sender:
    """Sends bodies on connections of its own, and fails at the first answer that is not good."""

    def __init__(self, receiver: Collecting) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", receiver.http, timeout=60)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{receiver.grpc}")

    def send(self, body: Body) -> object:
        answer = self._grpc_answer(body) if body.grpc else self._http_answer(body)
        assert answer in GOOD, f"{answer}: to see it again, Sender(receiver).send({body})"
        return answer

    def _http_answer(self, body: Body) -> object:
        try:
            headers = {"content-type": body.kind, "content-encoding": body.encoding}
            self._http.request("POST", body.path, body.content, headers)
            with self._http.getresponse() as answer:
                answer.read()
                return answer.status
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__

    def _grpc_answer(self, body: Body) -> object:
        name = {"/v1/traces": "Trace", "/v1/logs": "Logs", "/v1/metrics": "Metrics"}[body.path]
        try:
            self._channel.unary_unary(EXPORT.replace("trace", name.lower()).replace("Trace", name))(
                body.content, timeout=60
            )
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def all(self, sent: Iterator[Body]) -> Counter[object]:
        """Send bodies and count the answers."""
        try:
            return Counter(self.send(body) for body in sent)
        finally:
            self.close()

    def close(self) -> None:
        self._http.close()
        self._channel.close()


@pytest.mark.parametrize("count", [300, heavy(BODIES)])
def test_any_body_gets_an_answer_and_nothing_breaks(tmp_path: Path, count: int) -> None:
    seed = int(os.environ.get("COREVITAL_FUZZ_SEED", "0"))
    with collecting(tmp_path) as receiver:
        unchanged = (Body(path, content, JSON if content[:1] == b"{" else PROTOBUF) for path, content in seeds())
        assert Sender(receiver).all(unchanged) == {200: 6}
        Sender(receiver).all(bodies(200, seed + SENDERS))
        before = receiver.resident

        def share(sender: int) -> Counter[object]:
            own = len(range(sender, count, SENDERS))  # whatever the number: none is left over
            return Sender(receiver).all(bodies(own, seed + sender))

        with ThreadPoolExecutor(SENDERS) as pool:  # together, as senders come: each answer waits for the disk
            found = sum(pool.map(share, range(SENDERS)), Counter[object]())
        grown = receiver.peak - before
        print(f"{count} bodies: {dict(found)}, memory grew by {grown / 2**20:.1f} MiB")
        assert found.total() == count
        assert set(found) == GOOD
        assert min(found.values()) > count / 200
        assert grown < 64 * 1024 * 1024
        assert receiver.post(spans_request(1, seed=77).SerializeToString())[0] == 200
        assert receiver.stop() == 0
        assert receiver.log.read_text().count("\n") == 2  # where it listens, and that it stopped
    assert check(receiver.db) == []


@pytest.mark.parametrize("over_grpc", [False, True], ids=["http", "grpc"])
def test_a_fault_is_found_and_says_how_to_see_it_again(tmp_path: Path, *, over_grpc: bool) -> None:
    planted = (
        "from opentelemetry_instrumentation_corevital.receiver import envelope\n"
        "def broken(*arguments): raise KeyError('planted')\n"
        "envelope.read_source = broken\n"
    )
    with collecting(tmp_path, code=planted) as receiver:
        sender = Sender(receiver)
        mine = (body for body in bodies(200, 0) if body.grpc == over_grpc)
        with pytest.raises(AssertionError, match=r"^(503|UNAVAILABLE): .*send\(Body\(") as caught:
            sender.all(mine)
        again = eval(str(caught.value).split(".send(", 1)[1].split("\n")[0].removesuffix(")"))
        assert isinstance(again, Body)
        with pytest.raises(AssertionError, match=r"^(503|UNAVAILABLE): "):
            Sender(receiver).send(again)


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-3, 30),
    FieldDescriptor.CPPTYPE_STRING: st.text(max_size=8)
    | st.sampled_from([name for name in vars(semconv).values() if isinstance(name, str)]),
}


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 0) -> Any:
    """Return a message of a type in which any field holds anything, however little sense it makes."""
    made = kind()
    chosen = draw(st.sets(st.sampled_from([field.name for field in kind.DESCRIPTOR.fields])))
    for field in kind.DESCRIPTOR.fields:
        if field.message_type is None and field.name not in chosen:
            continue
        if field.message_type is not None and (depth > 8 or (depth > 3 and field.name not in chosen)):
            continue
        value: st.SearchStrategy[Any]
        if field.message_type is not None:
            value = messages(GetMessageClass(field.message_type), depth + 1)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            value = st.sampled_from([b"1" * 16, b"2" * 8]) | st.binary(max_size=20)
        else:
            value = _SCALARS[field.cpp_type]
        if field.is_repeated:
            many = draw(st.lists(value, max_size=2))
            getattr(made, field.name).extend(many)
        elif field.message_type is not None:
            getattr(made, field.name).CopyFrom(draw(value))
        else:
            setattr(made, field.name, draw(value))
    return made


@pytest.mark.parametrize("signal", SIGNALS, ids=[signal.name for signal in SIGNALS])
@pytest.mark.parametrize("examples", [20, heavy(300)])
def test_messages_of_any_content_get_an_answer(tmp_path: Path, signal: OtlpSignal, examples: int) -> None:
    with collecting(tmp_path) as receiver:
        sender = Sender(receiver)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(message=messages(type(signal.request())))
        def play(message: Any) -> None:
            packed = message.SerializeToString()
            answers = [sender.send(Body(signal.path, packed, grpc=over_grpc)) for over_grpc in (False, True)]
            assert answers in ([200, "OK"], [400, "INVALID_ARGUMENT"])
            as_json = to_line(message).encode()
            assert sender.send(Body(signal.path, as_json, JSON)) in (200, 400)

        play()
        sender.close()
        assert receiver.stop() == 0
        assert receiver.log.read_text().count("\n") == 2  # where it listens, and that it stopped
    assert check(receiver.db) == []
