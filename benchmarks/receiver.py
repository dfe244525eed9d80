"""Whether `corevital collect` keeps up: paced load over HTTP and gRPC, and what of it is in the store afterwards.

    python benchmarks/receiver.py [RESULT.json] [--seconds 60] [--spans 2000] [--runs 50]

Six processes send together, each on a connection of its own, half of them over HTTP and half over gRPC: four send
spans of 2 KB, 250 in a request, two send runs, 25 in a request. A run is the span of 200 steps of noise in 32 layers as
CoreVital's recorder makes it in mode full, judged, with its 96 step events and 32 exceptions: 128 events, which is all
that the SDK keeps. Requests are due at fixed times; one that is late is sent at once, and what is refused is sent again
after the time that the receiver asks for. What was acknowledged is compared with the rows of the store.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry._logs import NoOpLogger
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from store import noise  # of this folder
from wire import reported  # of this folder

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.config import load_settings

sys.path.append(str(Path(__file__).parent.parent))  # the receiver of the tests

from tests.support.collect_process import PROTOBUF, collecting

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SPAN_BYTES, STEPS, EVENTS = 2048, 200, 128
SHARES = {"spans": (("http", 250), ("grpc", 250)) * 2, "runs": (("http", 25), ("grpc", 25))}
"""Load -> protocol and size of a request of each of its senders."""

Send = Callable[[bytes], float | None]
"""Sends a body; returns None if it was acknowledged, else after how many seconds to send it again."""


def finished(make: Callable[[Tracer], None]) -> ReadableSpan:
    """Return the span that a function makes."""
    memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    make(provider.get_tracer(semconv.SCOPE_NAME))
    (span,) = memory.get_finished_spans()
    return span


def plain_span() -> ReadableSpan:
    """Return a span that has 2 KB on the wire."""

    def make(tracer: Tracer) -> None:
        with tracer.start_as_current_span("POST /v1/chat/completions") as span:
            span.set_attributes({f"app.detail.{index}": "x" * 64 for index in range(20)})
            weight = len(encode_spans([span]).resource_spans[0].scope_spans[0].spans[0].SerializeToString())  # type: ignore[list-item]
            span.set_attribute("app.rest", "x" * (SPAN_BYTES - weight - 30))

    return finished(make)


def run_span() -> ReadableSpan:
    """Return the span of a run with 128 events."""

    def make(tracer: Tracer) -> None:
        run = noise(STEPS, 0)
        span = reported(run, load_settings({"capture": "full"}), tracer, NoOpLogger("none"))
        for index in range(EVENTS - 96):
            try:
                raise ValueError(f"tool {index} gave no answer")
            except ValueError as error:
                span.record_exception(error)
        span.end(run.end_ns)

    return finished(make)


def requests(load: str, size: int, seed: int) -> Iterator[bytes]:
    """Yield requests of so many spans with ids that no other has."""
    request: ExportTraceServiceRequest = encode_spans([plain_span() if load == "spans" else run_span()])
    spans = request.resource_spans[0].scope_spans[0].spans
    spans.extend([spans[0]] * (size - 1))
    number = seed << 40
    while True:
        for span in spans:
            number += 1
            span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        yield request.SerializeToString()


@contextmanager
def over_http(port: int) -> Iterator[Send]:
    """Open a connection over HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(body: bytes) -> float | None:
        connection.request("POST", "/v1/traces", body, {"content-type": PROTOBUF})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200 and not text:
            return None
        if answer.status not in (429, 503):
            raise RuntimeError(f"the receiver answered {answer.status}: {text!r}")
        return float(answer.headers["retry-after"])

    with closing(connection):
        yield send


@contextmanager
def over_grpc(port: int) -> Iterator[Send]:
    """Open a connection over gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary(EXPORT)

        def send(body: bytes) -> float | None:
            try:
                answer = call(body, timeout=60)
            except grpc.RpcError as error:
                details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
                if details is None:
                    raise
                info = RetryInfo()
                Status.FromString(details).details[0].Unpack(info)
                return info.retry_delay.seconds or 1.0
            if answer:
                raise RuntimeError(f"the receiver answered with a partial success: {answer!r}")
            return None

        yield send


def sender(load: str, protocol: str, port: int, size: int, rate: float, seconds: float, seed: int) -> dict[str, Any]:
    """Send for so many seconds and return what came of it; `rate` is in spans a second."""
    bodies = requests(load, size, seed)
    next_body, interval = next(bodies), size / rate
    latencies, refusals, late, sent_bytes = list[float](), 0, 0.0, 0
    with (over_http if protocol == "http" else over_grpc)(port) as send:
        started = time.monotonic() + interval * (seed % 8) / 8  # not all of them at the same moment
        for number in range(round(seconds / interval)):
            due = started + number * interval
            time.sleep(max(0.0, due - time.monotonic()))
            late = max(late, time.monotonic() - due)
            begun = time.monotonic()
            while (pause := send(next_body)) is not None:
                refusals += 1
                time.sleep(pause)
            latencies.append(time.monotonic() - begun)
            sent_bytes += len(next_body)
            next_body = next(bodies)
        ended = time.monotonic()
    return {
        "load": load,
        "acknowledged": len(latencies) * size,
        "bytes": sent_bytes,
        "latencies": latencies,
        "refusals": refusals,
        "late": late,
        "seconds": max(seconds, ended - started),
    }


def stored(path: Path) -> dict[str, Any]:
    """Return what is in the store, by load, and whether the file is sound."""
    with closing(sqlite3.connect(path)) as connection:

        def one(sql: str) -> Any:
            return connection.execute(sql).fetchone()[0]

        runs = one("SELECT count(*) FROM runs")
        return {
            "spans": one("SELECT count(*) FROM spans") - runs,
            "runs": runs,
            "events": one("SELECT count(*) FROM span_events"),
            "integrity": one("PRAGMA integrity_check"),
        }


def measured(folder: Path, seconds: float, rates: dict[str, float]) -> dict[str, Any]:
    """Run a receiver and its senders; return the figures."""
    with collecting(folder) as receiver:
        ports = {"http": receiver.http, "grpc": receiver.grpc}
        jobs = [
            (load, protocol, ports[protocol], size, rates[load] / len(shares), seconds, seed)
            for load, shares in SHARES.items()
            for seed, (protocol, size) in enumerate(shares, 1 if load == "spans" else 101)
        ]
        before = os.getloadavg()
        with multiprocessing.get_context("spawn").Pool(len(jobs)) as pool:
            outcomes = pool.starmap(sender, jobs, chunksize=1)
        peak, busy = receiver.peak, receiver.processor_seconds
        assert receiver.stop() == 0
        file_bytes = receiver.db.stat().st_size
        found = stored(receiver.db)
    figures: dict[str, Any] = {"seconds": seconds}
    for load in SHARES:
        own = [outcome for outcome in outcomes if outcome["load"] == load]
        acknowledged = sum(outcome["acknowledged"] for outcome in own)
        latencies = sorted(each for outcome in own for each in outcome["latencies"])
        figures[load] = {
            "asked_per_second": rates[load],
            "acknowledged_per_second": round(sum(each["acknowledged"] / each["seconds"] for each in own), 1),
            "acknowledged": acknowledged,
            "stored": found[load],
            "lost": acknowledged - found[load],
            "bytes_each": round(sum(outcome["bytes"] for outcome in own) / acknowledged),
            "requests": len(latencies),
            "ms_to_acknowledge": {
                "median": round(1000 * statistics.median(latencies)),
                "p99": round(1000 * latencies[int(0.99 * (len(latencies) - 1))]),
                "most": round(1000 * latencies[-1]),
            },
            "refused_and_sent_again": sum(outcome["refusals"] for outcome in own),
            "latest_start_s": round(max(outcome["late"] for outcome in own), 2),
        }
    figures["events_stored"] = found["events"]
    figures["events_lost"] = EVENTS * figures["runs"]["acknowledged"] - found["events"]
    figures["integrity_check"] = found["integrity"]
    figures["receiver"] = {
        "peak_mib": round(peak / 2**20),
        "processor_seconds": round(busy, 1),
        "file_mib": round(file_bytes / 2**20),
    }
    figures["load_average_before_and_after"] = [round(before[0], 1), round(os.getloadavg()[0], 1)]
    return figures


def main() -> None:
    """Measure and print; exit with 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--spans", type=float, default=2000, help="spans of 2 KB per second")
    parser.add_argument("--runs", type=float, default=50, help="runs of 128 events per second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), options.seconds, {"spans": options.spans, "runs": options.runs})
    figures["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = json.dumps(figures, indent=2)
    if options.result:
        options.result.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(figures["spans"]["lost"] + figures["runs"]["lost"] + figures["events_lost"] != 0)


if __name__ == "__main__":
    main()
