"""An agent sends each trace to one of two gateways, also after it was stopped while both were away."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.collect_process import collecting, spans_request
from tests.support.collectors import Collector, assert_same, collector, store_directly, telemetry_of
from tests.support.in_memory import instrumented
from tests.support.processes import free_port, wait_until
from tests.support.tiny_models import prompt, sharpen, tiny_model

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]

CALLS = 16


def items(file: Path, outer: str, scope: str, item: str) -> Iterator[dict[str, Any]]:
    for line in file.read_text().splitlines() if file.exists() else ():
        for resource in json.loads(line).get(outer, ()):
            for scoped in resource[scope]:
                yield from scoped[item]


def test_a_trace_meets_in_one_gateway_and_a_process_in_one(otelcol: str, tmp_path: Path) -> None:
    model = sharpen(tiny_model())
    with instrumented(capture="full") as kept:
        for _ in range(CALLS):
            model.generate(prompt(), max_new_tokens=6, do_sample=True)
    telemetry, direct = telemetry_of(kept), tmp_path / "direct.db"
    store_directly(direct, telemetry)
    ports = [free_port(), free_port()]
    hosts = ", ".join(f"127.0.0.1:{port}" for port in ports)
    to_gateways = {
        "COREVITAL_GATEWAYS": f"{{static: {{hostnames: [{hosts}]}}}}",
        "COREVITAL_GATEWAY_INSECURE": "true",
    }
    files = [tmp_path / f"gateway-{port}.jsonl" for port in ports]
    with collector(otelcol, tmp_path / "agent", "no-store", "gateway", **to_gateways) as agent:
        agent.send(telemetry)
        assert agent.waiting() > 0
    gateways: list[Collector] = []
    with ExitStack() as servers:
        receiver = servers.enter_context(collecting(tmp_path))
        for port, file in zip(ports, files, strict=True):
            variables = {
                "COREVITAL_COLLECTOR_GRPC": f"127.0.0.1:{port}",
                "COREVITAL_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.http}",
                "COREVITAL_FILE": str(file),
            }
            gateways.append(
                servers.enter_context(collector(otelcol, tmp_path / f"gateway-{port}", "file", **variables))
            )
        agent = servers.enter_context(collector(otelcol, tmp_path / "agent", "no-store", "gateway", **to_gateways))
        wait_until(lambda: agent.waiting() == 0, 40)
        expected = {"spans": len(telemetry.spans), "logs": len(telemetry.logs)}

        def received() -> dict[str, int]:
            return {
                "spans": sum(1 for file in files for _ in items(file, "resourceSpans", "scopeSpans", "spans")),
                "logs": sum(1 for file in files for _ in items(file, "resourceLogs", "scopeLogs", "logRecords")),
            }

        wait_until(lambda: received() == expected and not any(gateway.waiting() for gateway in gateways))
        assert receiver.stop() == 0
    traces = [{span["traceId"] for span in items(file, "resourceSpans", "scopeSpans", "spans")} for file in files]
    assert not traces[0] & traces[1]
    assert len(traces[0] | traces[1]) == CALLS
    assert all(traces), "each of them had some"
    logs = [len(list(items(file, "resourceLogs", "scopeLogs", "logRecords"))) for file in files]
    metrics = [len(list(items(file, "resourceMetrics", "scopeMetrics", "metrics"))) for file in files]
    assert sorted(map(bool, logs)) == [False, True], "what one process says comes together"
    assert [bool(count) for count in metrics] == [bool(count) for count in logs]
    assert_same(receiver.db, direct)


def test_what_waits_for_a_gateway_that_is_gone_goes_to_the_rest(otelcol: str, tmp_path: Path) -> None:
    ports, file = [free_port(), free_port()], tmp_path / "gateway.jsonl"
    both, rest = (
        {"COREVITAL_GATEWAYS": f"{{static: {{hostnames: {hosts}}}}}", "COREVITAL_GATEWAY_INSECURE": "true"}
        for hosts in (f"[127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]}]", f"[127.0.0.1:{ports[0]}]")
    )

    def arrived() -> list[str]:
        return sorted(span["traceId"] for span in items(file, "resourceSpans", "scopeSpans", "spans"))

    gateway = {"COREVITAL_COLLECTOR_GRPC": f"127.0.0.1:{ports[0]}", "COREVITAL_FILE": str(file)}
    with collector(otelcol, tmp_path / "gateway", "no-store", "file", **gateway):
        with collector(otelcol, tmp_path / "agent", "no-store", "gateway", **both) as agent:
            for seed in range(40):
                assert agent.post(spans_request(seed=seed).SerializeToString()) == 200
            wait_until(arrived)
            assert agent.waiting() > 0
        with collector(otelcol, tmp_path / "agent", "no-store", "gateway", **rest) as agent:
            wait_until(lambda: len(arrived()) >= 40 and agent.waiting() == 0)
        assert arrived() == [f"{seed + 1:032x}" for seed in range(40)]
