"""The alerts on the way of telemetry: a real Prometheus scrapes a real Collector and receiver while things go wrong."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.collect_process import Collecting, collecting, spans_request
from tests.support.collectors import Collector, collector
from tests.support.processes import free_port, wait_until
from tests.support.prometheus_server import ALERTS, PrometheusServer, prometheus_server

pytestmark = [pytest.mark.acceptance, pytest.mark.wire, pytest.mark.xdist_group("wire")]

RULES = ALERTS / "pipeline.rules.yaml"
TOKEN = "right"


@dataclass
class Stack:
    """A Collector whose token is wrong, the receiver that refuses it, and a Prometheus that asks both."""

    collector: Collector
    receiver: Collecting
    prometheus: PrometheusServer


@pytest.fixture(scope="module")
def stack(otelcol: str, prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("pipeline")
    with collecting(folder, environment={"COREVITAL_COLLECT_TOKEN": TOKEN}) as receiver:
        to_store = {
            "COREVITAL_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.http}",
            "COREVITAL_COLLECT_TOKEN": "wrong",
            "COREVITAL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{free_port()}",
        }
        with collector(otelcol, folder, "prometheus", **to_store) as sending:
            targets = {
                "corevital-collector": int(sending.environment["COREVITAL_COLLECTOR_METRICS_PORT"]),
                "corevital-receiver": receiver.http,
            }
            with prometheus_server(prometheus, folder, RULES.name, targets, TOKEN) as asked:
                yield Stack(sending, receiver, asked)


def test_a_wrong_token_and_a_receiver_that_is_gone_fire_their_alerts(stack: Stack) -> None:
    asked = stack.prometheus
    wait_until(lambda: len(asked.query("up == 1")) == 2)
    # Metrics that are there from the start have the names that the rules ask for.
    for name in ("otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity", "corevital_receiver_store_writable"):
        assert name in RULES.read_text()
        assert asked.query(name)
    assert asked.query('otelcol_exporter_queue_size{job="corevital-collector"} / otelcol_exporter_queue_capacity')
    assert asked.firing() == {}
    assert stack.collector.post(spans_request(3).SerializeToString()) == 200
    lost = wait_until(lambda: asked.firing().get("CoreVitalTelemetryLost"), 40)
    assert lost["labels"]["exporter"] == "otlp_http/store"
    assert lost["annotations"]["summary"] == "The Collector has dropped 3 items of traces for otlp_http/store"
    assert asked.query('corevital_receiver_requests_total{outcome="refused"}'), "a wrong token is refused"
    stack.receiver.stop()
    down = wait_until(lambda: asked.firing().get("CoreVitalReceiverDown"), 40)
    assert down["labels"]["instance"] == f"127.0.0.1:{stack.receiver.http}"
    assert "CoreVitalCollectorDown" not in asked.firing()


def test_every_outcome_that_the_rules_count_is_one_that_the_receiver_has() -> None:
    page = Path(RULES.parents[2] / "docs" / "receiver.md").read_text()
    for outcome in re.findall(r'outcome="(\w+)"', RULES.read_text()):
        assert f"`{outcome}`" in page
