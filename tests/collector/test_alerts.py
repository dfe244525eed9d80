"""Alerts and dashboard against the real things: Debian's Prometheus scrapes a real Collector to which programs send."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.collectors import FOLDER, collector
from tests.support.fleet import Program, program
from tests.support.markdown import anchors
from tests.support.processes import free_port, wait_until
from tests.support.prometheus_server import ALERTS, PrometheusServer, prometheus_server

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("wire")]

RULES = ALERTS / "corevital.rules.yaml"
ALL_RULES = sorted(ALERTS.glob("*.rules.yaml"))
DASHBOARD = FOLDER / "grafana" / "corevital.json"


def run_promtool(promtool: str, *arguments: str) -> None:
    found = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_promtool_takes_the_rules_and_their_tests_pass(promtool: str) -> None:
    run_promtool(promtool, "check", "config", str(RULES.with_name("prometheus.yml")))
    for rules in ALL_RULES:
        run_promtool(promtool, "check", "rules", str(rules))
        run_promtool(promtool, "test", "rules", str(cases_of(rules)))


def cases_of(rules: Path) -> Path:
    return rules.with_name(rules.name.replace(".yaml", ".test.yaml"))


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda path: path.stem)
def test_every_alert_is_tested_both_ways_and_says_what_to_do(rules: Path) -> None:
    tests = yaml.safe_load(cases_of(rules).read_text())["tests"]
    asked = [(each["expr"], bool(each["exp_samples"])) for test in tests for each in test["promql_expr_test"]]
    page = Path(RULES.parents[2] / "docs" / "alerting.md").read_text()
    for alert in alerts(rules):
        name = alert["alert"]
        assert {fires for expr, fires in asked if f'"{name}"' in expr} == {True, False}, name
        assert alert["labels"]["severity"] in ("info", "warning", "critical")
        assert {"summary", "description", "runbook"} <= set(alert["annotations"])
        place, anchor = alert["annotations"]["runbook"].split("#")
        assert anchor in anchors(RULES.parents[2] / place)
        assert f"`{name}`" in page
        assert name.lower() in anchors(RULES.parents[2] / "docs" / "alerting.md"), "it has a runbook"
        gauges = ("corevital_risk_score_ratio", "corevital_entropy_bit", "corevital_surprisal_bit", "corevital_layer")
        assert not any(re.search(rf"\b{gauge}", alert["expr"]) for gauge in gauges), "gauges hold the last run only"


def alerts(rules: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(rules.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@dataclass
class Stack:
    """A program, and the Prometheus that knows what a Collector heard of it."""

    program: Program
    prometheus: PrometheusServer


@pytest.fixture(scope="module")
def stack(otelcol: str, prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder, scraped = tmp_path_factory.mktemp("stack"), free_port()
    with (
        collector(otelcol, folder, "prometheus", COREVITAL_PROMETHEUS_ENDPOINT=f"127.0.0.1:{scraped}") as sent_to,
        prometheus_server(prometheus, folder, RULES.name, {"corevital": scraped}) as asked,
        # So few bytes that step events are left out.
        program(sent_to, folder / "program.log", "chat", OTEL_COREVITAL_MAX_SPAN_BYTES="4096") as running,
    ):
        yield Stack(running, asked)


@pytest.mark.wire
def test_a_burst_of_loops_fires_its_alert(stack: Stack) -> None:
    stack.program.generate("unmeasured", 2)
    stack.program.generate("healthy", 25)
    counted = 'sum(corevital_runs_total{corevital_captured="true"})'
    wait_until(lambda: stack.prometheus.query(counted)[0]["value"][1] == "25", 30)
    wait_until(lambda: "CoreVitalDropped" in stack.prometheus.firing(), 30)
    assert set(stack.prometheus.firing()) == {"CoreVitalDropped"}, "runs that are well alarm nobody"
    stack.program.generate("loops", 8)
    wait_until(lambda: "CoreVitalLoops" in stack.prometheus.firing(), 30)
    loops = stack.prometheus.firing()["CoreVitalLoops"]
    assert loops["labels"]["job"] == "chat"
    assert loops["labels"]["gen_ai_request_model"] == "LlamaForCausalLM"
    assert re.fullmatch(
        r"[\d.]+% of the runs of LlamaForCausalLM in chat end in a loop", loops["annotations"]["summary"]
    )
    assert "CoreVitalNonFinite" not in stack.prometheus.firing()
    stack.program.generate("nan", 1)
    wait_until(lambda: "CoreVitalNonFinite" in stack.prometheus.firing(), 30)
    assert {"CoreVitalDropped", "CoreVitalHighRiskRate"} <= set(stack.prometheus.firing())


@pytest.mark.wire
def test_every_panel_of_the_dashboard_shows_something(stack: Stack) -> None:
    values = {"$service": "chat", "$model": ".*", "$__rate_interval": "2m", "$__range": "2m"}
    shown = dashboard()
    for kind in ("unmeasured", "healthy", "nan", "loops"):
        stack.program.generate(kind, 1)
    found = {}
    for expression in expressions(shown):
        query = re.sub(r"\$\w+", lambda variable: values[variable[0]], expression)
        found[expression] = wait_until(lambda query=query: stack.prometheus.query(query), 20)
    (torn,) = [result for expression, result in found.items() if "nan_detected" in expression]
    assert float(torn[0]["value"][1]) >= 1, "a counter's first event counts"
    for variable in shown["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            assert stack.prometheus.query(f"count by ({label}) ({series.replace('$service', 'chat')})")


def test_the_dashboard_can_be_imported_anywhere() -> None:
    shown = dashboard()
    assert "id" not in shown, "an id is of one Grafana"
    assert shown["uid"] == "corevital"
    ids = [panel["id"] for panel in shown["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in shown["panels"]:
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells, "no panel lies on another"
        assert max(x for x, _ in own) < 24
        cells |= own
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            assert panel["description"]
    assert {each["name"]: each["type"] for each in shown["templating"]["list"]} == {
        "datasource": "datasource",
        "service": "query",
        "model": "query",
    }


def dashboard() -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return shown


def expressions(shown: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in shown["panels"] for target in panel.get("targets", ())]
