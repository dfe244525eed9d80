"""The page `/overview`: what it shows, of which range, and what it says where there is nothing."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.dashboard import overview_outcomes
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.dashboard.overview_view import RANGES
from opentelemetry_instrumentation_corevital.store.database import open_database
from tests.support.run_sources import SQLitePlace, spans_at

HOUR_NS = 3600 * 10**9
HEALTHY = {semconv.HEALTH_REPETITION_LOOP: False, semconv.HEALTH_NAN: False}


def add(place: SQLitePlace, hours: list[float], model: str | None, risk: float | None, **changes: Any) -> None:
    level = None if risk is None else "high" if risk >= 0.7 else "low"
    said = {semconv.GEN_AI_REQUEST_MODEL: model, semconv.RISK_SCORE: risk, semconv.RISK_LEVEL: level, **HEALTHY}
    now = time.time_ns()
    place.add(spans_at([now - int(hour * HOUR_NS) for hour in hours], **{**said, **changes}))


@pytest.fixture
def place(tmp_path: Path) -> SQLitePlace:
    open_database(SQLitePlace(tmp_path).path).close()
    return SQLitePlace(tmp_path)


def client(place: SQLitePlace) -> TestClient:
    return TestClient(application(DashboardSettings(str(place.path))), base_url="http://127.0.0.1:4419")


def shown(place: SQLitePlace, query: str = "") -> str:
    answer = client(place).get(f"/overview{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def block(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    assert found is not None, name
    return json.loads(found[1])


def test_the_conclusion_comes_first_and_each_model_has_its_figures(place: SQLitePlace) -> None:
    add(place, [1, 2, 3], "org/a", 0.1)
    add(place, [4], "org/b", 0.9, **{semconv.HEALTH_REPETITION_LOOP: True})
    page = shown(place)
    told = words(page)
    assert "1 of 4 runs are of high risk, most often of org/b (100.0" in told
    assert "The most frequent flag is repetition loop: 1 run." in told
    assert re.search(r"org/a</a></th><td class=\"num\">3</td><td class=\"num\">0\.10</td>", page)
    assert told.index("are of high risk") < told.index("Newest runs that need a review")


def test_charts_have_their_numbers_as_a_table_too(place: SQLitePlace) -> None:
    add(place, [1, 1.01], "org/a", 0.2, **{semconv.ENTROPY_MEAN: 1.5})
    add(place, [3], "org/b", 0.8, **{semconv.ENTROPY_MEAN: 2.5})
    page = shown(place, "?range=24h")
    data = block(page, "chart-entropy")
    assert [each["name"] for each in data["series"]] == ["org/a", "org/b"]
    assert [value for value in data["series"][0]["values"] if value is not None] == [1.5]
    assert len(data["x"]) == len(data["series"][0]["values"])
    levels = block(page, "chart-levels")
    assert {each["name"]: sum(each["values"]) for each in levels["series"]} == {"low": 2, "medium": 0, "high": 1}
    drawn = re.findall(r'data-source="([\w-]+)" role="img" aria-label="([^"]+)"', page)
    assert len(drawn) > 5
    assert page.count('<details class="numbers">') == len(drawn)
    assert {source for source, _ in drawn} == set(re.findall(r'json" id="(chart-[\w-]+)"', page)) - {"chart-flags"}


def test_the_range_is_in_the_address(place: SQLitePlace) -> None:
    add(place, [1], "org/new", 0.1)
    add(place, [72], "org/days", 0.1)
    add(place, [24 * 20], "org/weeks", 0.1)
    add(place, [24 * 90], "org/months", 0.1)

    def models(query: str) -> int:
        return len(re.findall(r'<th scope="row" class="model-name">', shown(place, query)))

    assert {name: models(f"?range={name}") for name in RANGES} == {"24h": 1, "7d": 2, "30d": 3, "all": 4}
    assert models("") == 2, "a week, if nothing is said"
    assert models("?since=2h") == 1
    assert models("?range=all&model=org%2Fweeks") == 1
    assert 'aria-current="true">30 days' in shown(place, "?range=30d")
    assert 'href="/overview?model=org%2Fnew&amp;range=24h"' in shown(place, "?model=org%2Fnew"), "conditions stay"


@pytest.mark.parametrize("query", ["?range=year", "?range=7d&since=2h", "?colour=red", "?range=7d&range=7d"])
def test_what_cannot_be_shown_is_a_wrong_address(place: SQLitePlace, query: str) -> None:
    answer = client(place).get(f"/overview{query}")
    assert answer.status_code == 400
    assert query[1:].partition("=")[0] in answer.text


def test_runs_that_need_a_review_lead_to_their_pages(place: SQLitePlace) -> None:
    add(place, [1, 2], "org/a", 0.1)
    add(place, [3], "org/a", 0.95)
    page = shown(place)
    with place.open() as source:
        high = source.runs(level="high")[0]
    assert re.findall(r'href="(/runs/[0-9a-f/]+)"', page) == [f"/runs/{high.trace_id}/{high.span_id}"]
    assert "None: no run of this range is of high risk" in shown(place, "?level=low")


def test_an_empty_store_says_what_to_do(place: SQLitePlace) -> None:
    assert "corevital run --prompt" in shown(place)
    add(place, [24 * 50], "org/a", 0.1)
    told = shown(place)
    assert "No run matches" in told
    assert 'href="/overview?range=all"' in told


def test_one_run_and_runs_of_which_nothing_is_known(place: SQLitePlace) -> None:
    add(place, [1], None, None, **{semconv.HEALTH_REPETITION_LOOP: None, semconv.HEALTH_NAN: None})
    told = words(shown(place))
    assert "1 runs; the risk of none is known." in told
    assert "unknown model" in told
    assert "not judged" in told


def test_names_are_text(place: SQLitePlace) -> None:
    name = '<script>alert(1)</script>"' + "x" * 200
    add(place, [1], name, 0.9)
    page = shown(place)
    assert "<script>alert" not in page
    assert block(page, "chart-high")["series"][0]["name"] == name


def test_runs_with_an_outcome_have_their_pictures_and_tables(place: SQLitePlace) -> None:
    add(place, [1], "org/a", 0.1)
    assert "Answer risk and outcomes" not in shown(place), "no outcome is known"
    for number in range(12):
        judged = {semconv.RISK_ANSWER: 0.05 + number * 0.08, semconv.RISK_ANSWER_SUPPORT: True}
        add(place, [2 + number / 100], "org/b", 0.1, **judged)
    add(place, [3], "org/b", 0.1)
    with place.open() as source:
        for run in source.runs(model="org/b", limit=None):
            source.set_label(run, "incorrect" if (run.risk_answer or 0) > 0.5 else "correct")
    page = shown(place)
    told = words(page)
    assert "Of the newest 13 runs whose outcome is known, 12 have an answer risk." in told
    (row,) = re.findall(r'title="org/b">org/b</th>(.*?)</tr>', page)
    assert re.findall(r">([^<]+)</td>", row)[:4] == ["12", "50\u202f%", "49\u202f%", "1.000"]
    bins = block(page, "chart-reliability")["series"][0]
    assert bins["name"] == "org/b"
    assert sum(point[4] for point in bins["points"]) == 12
    curve = block(page, "chart-coverage")["series"][0]["points"]
    assert curve[-1] == [1, 0.5]
    assert curve[5] == [0.5, 0], "the six of the lowest risk are right"
    assert page.count('<details class="numbers">') == len(re.findall(r'data-source="chart-[\w-]+" role="img"', page))
    assert "Answer risk and outcomes" not in shown(place, "?model=org/a"), "the conditions of the page hold"


def test_labelled_runs_that_are_read_are_bounded(place: SQLitePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview_outcomes, "MOST_LABELLED", 5)
    add(place, [hour / 10 for hour in range(1, 9)], "org/a", 0.1, **{semconv.RISK_ANSWER: 0.5})
    with place.open() as source:
        for run in source.runs(limit=None):
            source.set_label(run, "correct")
    told = words(shown(place))
    assert "Of the newest 5 runs whose outcome is known, 5 have an answer risk." in told
