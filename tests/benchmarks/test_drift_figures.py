"""What docs/judgement.md says of drift is what `benchmarks/drift.py` found, and the goals are met."""

import json
from pathlib import Path

from opentelemetry_instrumentation_corevital.assessment.drift import LIMIT

ROOT = Path(__file__).parents[2]
FOUND = json.loads((ROOT / "docs" / "results" / "drift.json").read_text(encoding="utf-8"))
CHANGES = ("weights rounded to 4 bit", "temperature 0.7 to 1.2", "chat template left out")


def test_the_goals_are_met_with_the_limit_of_today() -> None:
    assert FOUND["limit"] == LIMIT
    assert all(FOUND["changes"][name]["found_after_runs"] <= FOUND["goal_runs"] for name in CHANGES)
    assert FOUND["changes"]["control: nothing changed"]["found_after_runs"] is None
    alarms = FOUND["false_alarms"]
    assert alarms["distinct_runs"] >= 2000
    assert alarms["per_2000_runs"] <= 1


def test_the_page_has_the_figures_that_were_measured() -> None:
    page = " ".join((ROOT / "docs" / "judgement.md").read_text(encoding="utf-8").split())
    for name in CHANGES:
        assert f"| {name} | {FOUND['changes'][name]['found_after_runs']} |" in page
    assert FOUND["changes"]["weights rounded to 8 bit"]["found_after_runs"] is None
    assert "| weights rounded to 8 bit | not in 48 |" in page
    alarms = FOUND["false_alarms"]
    assert (
        f"{alarms['false_alarms']} in {alarms['runs']} healthy runs ({alarms['distinct_runs']} different ones" in page
    )
    assert FOUND["changes"][CHANGES[0]]["changed_runs"] == 48
