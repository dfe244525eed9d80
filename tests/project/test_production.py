"""docs/production-deployment.md: its figures are those that were measured, and the tests that it names are there."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "production-deployment.md").read_text(encoding="utf-8")
RESULTS = ROOT / "docs" / "results"
ARMS = {
    "summary": "`capture=summary`, the default",
    "summary, no step events": "and `step_events=off`",
    "full, no run data": "`capture=full`, `run_data=off`",
    "full": "`capture=full`: every step x layer",
}


def result(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("arm", ARMS)
def test_the_sizes_are_those_that_were_measured(arm: str) -> None:
    figures = result("sizing.json")
    found = figures["arms"][arm]
    cpu = found["ms_to_report"] + found["ms_to_encode"]
    servers = [found.get(f"{each}_cpu_ms") for each in ("collector", "receiver")]
    one = [f"{found[f'bytes_{each}'] / 1000:.1f}" for each in ("sent", "sent_gzip", "stored")]
    assert row(ARMS[arm], *one, f"{cpu:.1f}", *("" if ms is None else f"{ms:.1f}" for ms in servers)) in PAGE
    many = [f"{found[f'bytes_{each}'] / 1000:.0f}" for each in ("sent", "stored")]
    hours = ["" if ms is None else f"{ms / 3.6:.1f}" for ms in servers]
    assert row(ARMS[arm], *many, f"{cpu / 3.6:.1f}", *hours) in PAGE
    assert figures["command"].partition(" --runs")[0] in PAGE


def test_what_follows_from_the_sizes_is_right() -> None:
    figures = result("sizing.json")
    arms = figures["arms"]
    stored = {name: each["bytes_stored"] for name, each in arms.items()}
    low = stored["summary, no step events"]
    run_data = stored["full"] - stored["full, no run data"]
    told = (
        f"{(low + 0.02 * stored['full']) / 1000:.1f} KB per run in the store",
        f"about {round(run_data / figures['steps'], -2):,.0f} bytes per token",
        f"about {round(2**31 / stored['summary'], -3):,.0f} such runs in summary, {round(2**31 / low, -3):,.0f} with",
        f"1 GiB per signal is enough for {round(2**30 / arms['summary']['bytes_sent'], -3):,.0f} runs in summary",
        *(f"{figures['real'][mode]['bytes_sent'] / 1000:.1f} KB" for mode in ("summary", "full")),
        "at a load of {} to {}".format(*figures["load_average_before_and_after"]),
    )
    for each in told:
        assert each in PAGE, each
    choices = PAGE.partition("## Choose")[2].partition("\n\n## ")[0]
    days = (1e4 * stored["summary"], 1e5 * low, 1e6 * (low + 0.02 * stored["full"]))
    told_days = [float(found) for found in re.findall(r"\| ([\d.]+) \| (?:none|\[)", choices)]
    assert told_days == [float(f"{each / 1e9:.2g}") for each in days]
    receiver = result("receiver.json")
    assert f"{receiver['runs']['asked_per_second']} runs and {receiver['spans']['asked_per_second']:,} other" in PAGE
    assert f"with {receiver['receiver']['peak_mib']} MiB and nothing lost" in PAGE
    assert receiver["runs"]["lost"] == receiver["spans"]["lost"] == 0


def test_what_workers_left_in_the_store_is_what_was_seen() -> None:
    for name, found in result("workers.json")["arrangements"].items():
        cells = (f"`{name}`", *(str(found[each]) for each in ("workers_that_answered", "answered", "stored")))
        assert row(*cells) in PAGE


def test_a_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 25
    for path, test in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert not test or test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, test


def test_every_failure_was_seen_or_says_that_it_was_not() -> None:
    rows = PAGE.partition("| what fails |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) > 20
    for each in rows:
        seen = each.split("|")[-2]
        assert re.search(r"`tests/|results/|not tested", seen), each


def test_every_alert_that_the_page_names_is_one() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "collector" / "alerts").glob("*.rules.yaml"))
    alerts = set(re.findall(r"alert: (\w+)", rules))
    assert set(re.findall(r"`(CoreVital[A-Z]\w+)`", PAGE)) <= alerts
    assert "There are thirteen alerts, with a runbook each" in PAGE
    assert len(alerts) == 13
    critical = {
        name for name, text in re.findall(r"alert: (\w+)(.*?)(?=- alert|\Z)", rules, re.S) if "critical" in text
    }
    paged = PAGE.partition("Page somebody for the critical ones:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", paged)) == critical


def test_the_steps_of_the_images_were_done() -> None:
    found = result("image-steps.json")
    steps = [step for name in ("Dockerfile", "Collector.Dockerfile") for step in found[name]["steps"]]
    assert {step["exit_code"] for step in steps} == {0}
    lines = {
        f"{name} {value}"
        for file in ("Dockerfile", "Collector.Dockerfile")
        for name, value in re.findall(
            r"^(COPY|RUN) (.+)$", (ROOT / "collector" / "docker" / file).read_text(encoding="utf-8"), re.M
        )
    }
    done = {step["step"].removesuffix("...") for step in steps}
    assert all(any(line.startswith(step) for step in done) for line in lines), "the files have changed since"
    for ran in (*found["Dockerfile"]["commands"].values(), *found["Collector.Dockerfile"]["commands"].values()):
        assert ran.get("exit_code") == 0 or "left_out" in ran
