"""A receiver that is flooded by somebody without its token, and how it serves others meanwhile."""

import subprocess
import sys
import time
from pathlib import Path

import grpc

from tests.support.collect_process import EXPORT, Collecting, collecting, spans_request
from tests.support.hostile_requests import MIB
from tests.support.subprocesses import ROOT

TOKEN = "Bearer s3cret"

MOST_GROWTH_MIB = 256
"""Of memory under a flood without the token; docs/receiver.md promises it."""


def answer_seconds(receiver: Collecting) -> tuple[float, float]:
    """Return how long an honest sender waits over HTTP and over gRPC, each with a connection of its own."""
    body = spans_request(1).SerializeToString()
    began = time.monotonic()
    assert receiver.post(body, authorization=TOKEN)[0] == 200
    between = time.monotonic()
    with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        channel.unary_unary(EXPORT)(body, timeout=10, metadata=[("authorization", TOKEN)])
    return between - began, time.monotonic() - between


def flooded(folder: Path, seconds: float) -> dict[str, float]:
    """Flood a receiver for so many seconds, tell it to stop while it is flooded, and return what happened."""
    with collecting(folder, environment={"COREVITAL_COLLECT_TOKEN": "s3cret"}) as receiver:
        answer_seconds(receiver)
        before, waits = receiver.resident, list[tuple[float, float]]()
        length = 4 + seconds + 20
        command = [sys.executable, "-m", "tests.support.flood", str(receiver.http), str(receiver.grpc), str(length)]
        flood = subprocess.Popen(command, cwd=ROOT)
        try:
            time.sleep(4)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                waits.append(answer_seconds(receiver))
                time.sleep(0.1)
            grown, began = receiver.peak - before, time.monotonic()
            assert flood.poll() is None, "it still floods"
            assert receiver.stop() == 0
            stopped = time.monotonic() - began
        finally:
            flood.kill()
            flood.wait()
    http, rpc = (sorted(each) for each in zip(*waits, strict=True))
    return {
        "seconds": seconds,
        "requests_of_each_protocol": len(waits),
        "http_median_s": round(http[len(http) // 2], 3),
        "http_most_s": round(http[-1], 3),
        "grpc_median_s": round(rpc[len(rpc) // 2], 3),
        "grpc_most_s": round(rpc[-1], 3),
        "memory_grew_mib": round(grown / MIB, 1),
        "stopped_after_s": round(stopped, 1),
    }
