"""Somebody without the token floods a receiver: who has it is served meanwhile, and SIGTERM ends the process."""

import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from tests.receiver.test_grpc import EXPORT
from tests.support.collect_process import Collecting, collecting, spans_request
from tests.support.hostile_requests import MIB

ROOT = Path(__file__).parent.parent.parent
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


@pytest.mark.acceptance
def test_who_has_the_token_is_served_while_others_flood(tmp_path: Path) -> None:
    figures = flooded(tmp_path, 8)
    print(figures)
    assert max(figures["http_most_s"], figures["grpc_most_s"]) < 2
    assert figures["memory_grew_mib"] < MOST_GROWTH_MIB
    assert figures["stopped_after_s"] < 20
