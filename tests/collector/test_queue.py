"""What the Collector has taken in arrives once, also when the store is away and the Collector stops meanwhile."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collect_process import collecting, spans_request
from tests.support.collectors import Telemetry, assert_same, collector, store_directly, telemetry_of
from tests.support.in_memory import instrumented
from tests.support.processes import free_port, wait_until
from tests.support.store_contents import contents
from tests.support.tiny_models import prompt, sharpen, tiny_model

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]


def calls() -> Iterator[Telemetry]:
    """Yield the telemetry of one call after another."""
    model = sharpen(tiny_model())
    while True:
        with instrumented(capture="full") as kept:
            model.generate(prompt(batch=2), max_new_tokens=20, do_sample=True)
        yield telemetry_of(kept)


def outage(otelcol: str, folder: Path, seconds: float, rounds: int) -> None:
    """Send runs while there is no store; stop and kill the Collector in between; then let the store come."""
    direct, port, telemetry = folder / "direct.db", free_port(), calls()
    endpoint = {"COREVITAL_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    began = time.monotonic()
    for number in range(rounds):
        with collector(otelcol, folder / "collector", **endpoint) as sender:
            for transport in ("grpc", "http"):
                call = next(telemetry)
                store_directly(direct, call)
                sender.send(call, transport)
            assert sender.waiting() > 0
            time.sleep(seconds / rounds)
            if number % 2:
                os.kill(sender.pid, signal.SIGKILL)
    assert time.monotonic() - began >= seconds
    with (
        collector(otelcol, folder / "collector", **endpoint) as sender,
        collecting(folder, "--port", str(port)) as receiver,
    ):
        wait_until(lambda: sender.waiting() == 0, 60)
        assert receiver.metric("corevital_receiver_requests_total") > 0
        assert receiver.stop() == 0
    assert_same(receiver.db, direct)
    assert len(contents(receiver.db, "runs")) == 4 * rounds


def test_an_outage_of_the_store_and_restarts_lose_nothing(otelcol: str, tmp_path: Path) -> None:
    outage(otelcol, tmp_path, seconds=2, rounds=2)


@pytest.mark.acceptance
def test_an_outage_of_a_minute_loses_nothing(otelcol: str, tmp_path: Path) -> None:
    outage(otelcol, tmp_path, seconds=62, rounds=4)


def test_large_requests_are_cut_to_what_backends_take(otelcol: str, tmp_path: Path) -> None:
    with collecting(tmp_path) as receiver:
        endpoint = {"COREVITAL_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.http}"}
        with collector(otelcol, tmp_path / "collector", **endpoint) as sender:
            body = spans_request(500, pad="x" * 50_000).SerializeToString()
            assert 20 * 2**20 < len(body) < 32 * 2**20
            assert sender.post(body) == 200
            assert sender.post(spans_request(1, seed=1, pad="x" * (4 * 2**20)).SerializeToString()) == 200
            assert sender.post(spans_request(700, seed=2, pad="x" * 50_000).SerializeToString()) == 400
            wait_until(lambda: len(contents(receiver.db, "spans")) == 500 and sender.waiting() == 0)
            # One span that is larger than any request may be cannot be cut; it alone is left out.
            assert "one span size is greater than max size" in sender.log.read_text()
            assert receiver.metric("corevital_receiver_requests_total") >= 6


def test_a_full_queue_asks_to_come_again(otelcol: str, tmp_path: Path) -> None:
    """The store has it all the same; a second destination that is away does not stop it."""
    with collecting(tmp_path) as receiver:
        variables = {
            "COREVITAL_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.http}",
            "COREVITAL_JAEGER_ENDPOINT": f"http://127.0.0.1:{free_port()}",
            "COREVITAL_COLLECTOR_QUEUE_BYTES": str(2**20),
        }
        with collector(otelcol, tmp_path / "collector", "jaeger", **variables) as sender:
            answers = []
            for seed in range(4):
                answers.append(sender.post(spans_request(1, seed, pad="x" * 300_000).SerializeToString()))
                wait_until(lambda expected=seed + 1: len(contents(receiver.db, "spans")) == expected)
            assert answers == [200, 200, 200, 503]
