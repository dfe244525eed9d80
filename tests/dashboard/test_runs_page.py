"""The list of runs as a page: what it shows, that each of its states is an address, and its files."""

import asyncio
import csv
import io
import json
import re
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pyarrow.parquet
import pytest
from starlette.testclient import TestClient

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.dashboard import run_exports
from opentelemetry_instrumentation_corevital.dashboard.access import form_body
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.store import RunFilter, RunOrder, SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.store.database import open_database
from tests.support.run_sources import spans_at
from tests.support.spans import make_call, make_spans

HERE = "http://127.0.0.1:4419"
MARKUP = "<script>alert(1)</script>\x1b[31m\u202e" + "x" * 200


def browser(store: Path, **settings: Any) -> TestClient:
    app = application(DashboardSettings(str(store), **settings))
    return TestClient(app, base_url=HERE, follow_redirects=False)


def filled(path: Path) -> Path:
    exporter = SQLiteSpanExporter(path)
    for count in range(24):
        risk = (0.9, 0.5, 0.1)[count % 3]
        changes = {semconv.RISK_SCORE: risk, semconv.RISK_LEVEL: ("high", "medium", "low")[count % 3]}
        changes |= {semconv.GEN_AI_REQUEST_MODEL: f"org/model-{count % 2}", semconv.GEN_AI_USAGE_OUTPUT_TOKENS: count}
        exporter.export(spans_at([10**18 + count], **changes, **{semconv.STOP_REASON: "eos"}))
    exporter.export(spans_at([10**18 + 99], **{semconv.GEN_AI_REQUEST_MODEL: MARKUP, semconv.WARNINGS: [MARKUP]}))
    exporter.export(make_call(2))
    exporter.shutdown()
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("runs") / "runs.db")


def listed(text: str) -> list[str]:
    """Return the ids of the runs that a page lists."""
    return re.findall(r'name="run" value="([0-9a-f/]+)"', text)


def linked(text: str, words: str) -> str:
    """Return where the link with a text leads."""
    found = re.search(rf'<a [^>]*href="([^"]*)"[^>]*>(?:<code>)?{words}', text)
    assert found is not None, words
    return unescape(found[1])


def keys(store: Path, **asked: Any) -> list[str]:
    with open_store(store) as source:
        return [f"{run.trace_id}/{run.span_id}" for run in source.runs(**asked)]


def test_pages_go_forwards_and_backwards_and_keep_filters_and_order(store: Path) -> None:
    page = browser(store)
    expected = keys(store, wanted=RunFilter(model="org/model-1"), order=RunOrder.TOKENS, limit=None)
    text = page.get("/runs?model=org/model-1&sort=tokens&limit=5").text
    assert listed(text) == expected[:5]
    assert "12 runs match" in text
    second = linked(text, "Next")
    text = page.get(second).text
    assert listed(text) == expected[5:10]
    run = linked(text, expected[5][:12])
    path, _, query = run.partition("?")
    assert path == f"/runs/{expected[5]}"
    assert parse_qs(query) == parse_qs(second.partition("?")[2]), "the way back is in the address of the run"
    text = page.get(linked(text, "Next")).text
    assert listed(text) == expected[10:]
    assert "Next" not in text
    text = page.get(linked(text, "Previous")).text
    assert listed(text) == expected[5:10]
    answer = page.get(linked(text, "Previous"))
    assert listed(answer.text) == expected[:5]
    assert "Previous" not in answer.text
    assert listed(page.get(linked(text, "to the beginning")).text) == expected[:5]


def test_every_filter_is_offered_with_counts_and_taken_away_by_its_chip(store: Path) -> None:
    page = browser(store)
    text = page.get("/runs?level=high&model=org/model-0").text
    assert re.search(r'<option value="high" selected>high \(4\)', text)
    assert re.search(r'<option value="low">low \(4\)', text), "as many as there would be"
    assert re.search(r'<option value="org/model-1">org/model-1 \(4\)', text)
    assert re.search(r'<option value="none">without a label \(4\)', text)
    chips = re.findall(r'<a class="chip" href="([^"]*)"', text)
    assert [unescape(each) for each in chips] == ["/runs?level=high", "/runs?model=org%2Fmodel-0", "/runs"]
    assert len(listed(page.get(unescape(chips[0])).text)) == 8
    assert 'value="org/nobody" selected>org/nobody (0)' in page.get("/runs?model=org/nobody").text


def test_a_click_on_a_head_sorts_and_a_second_one_turns_it_round(store: Path) -> None:
    page = browser(store)
    text = page.get("/runs?level=high").text
    assert 'aria-sort="descending"><a class="sort" href="/runs?level=high&amp;sort=oldest">Started' in text
    address = linked(text, "Risk")
    text = page.get(address).text
    assert address == "/runs?level=high&sort=risk"
    assert linked(text, "Risk") == "/runs?level=high&sort=lowest-risk"
    assert linked(page.get("/runs?sort=oldest").text, "Started") == "/runs"
    assert linked(page.get("/runs?sort=answer").text, "Answer risk") == "/runs?sort=lowest-answer"


def test_the_answer_risk_is_a_column_and_a_filter(tmp_path: Path) -> None:
    place = tmp_path / "runs.db"
    exporter = SQLiteSpanExporter(place)
    exporter.export([*make_spans(**{semconv.RISK_ANSWER: 0.81}), *make_spans()])
    exporter.shutdown()
    page = browser(place)
    assert page.get("/runs").text.count('data-title="Answer risk"') == 2
    text = page.get("/runs?answer_above=0.5").text
    assert re.findall(r'data-title="Answer risk" class="num">([0-9.]+)<', text) == ["0.81"]
    assert "Answer risk above" in text
    assert "No run matches" in page.get("/runs?answer_below=0.5").text


def test_what_the_form_does_not_show_it_sends_along(store: Path) -> None:
    text = browser(store).get("/runs?request_hash=ab&sort=risk&limit=7").text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))
    assert hidden == {"request_hash": "ab", "sort": "risk", "limit": "7"}
    assert "No run matches" in text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sort=beauty", "sort=beauty: give newest, oldest"),
        ("limit=0", "limit=0: give a number"),
        ("limit=501", "limit=501"),
        ("limit=1e2", "limit=1e2"),
        ("after=x", "after: &#39;x&#39;: is no place"),
        (f"sort=risk&after=1.2.{'ab' * 16}.3.{'cd' * 8}", "after: a place in a list by newest"),
        (f"after=1.2.{'ab' * 16}.3.{'cd' * 8}&before=1.2.{'ab' * 16}.3.{'cd' * 8}", "before: does not go with after"),
        ("colour=red", "colour: there is no such parameter"),
    ],
)
def test_an_address_that_is_wrong_says_what(store: Path, query: str, says: str) -> None:
    for path in ("/runs", "/runs.csv"):
        answer = browser(store).get(f"{path}?{query}")
        assert (answer.status_code, says in answer.text) == (400, True), answer.text


def test_names_with_markup_are_text(store: Path) -> None:
    text = browser(store).get("/runs").text
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_an_empty_store_says_how_runs_come_in(tmp_path: Path) -> None:
    open_database(tmp_path / "empty.db").close()
    for query in ("", "?level=high"):
        answer = browser(tmp_path / "empty.db").get(f"/runs{query}")
        assert answer.status_code == 200
        assert "There is no run here yet" in answer.text
        assert "corevital run --model" in answer.text


def test_a_store_that_is_not_there_is_a_page(tmp_path: Path) -> None:
    answer = browser(tmp_path / "none.db").get("/runs")
    assert (answer.status_code, "there is no such file" in answer.text) == (503, True)


# --- files -----------------------------------------------------------------------------------------------------------


def test_all_that_match_come_as_csv_and_json_as_the_command_prints_them(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opentelemetry_instrumentation_corevital.store.listed_runs.PAGE_RUNS", 5)
    page = browser(store)
    for query, options in (("", ()), ("?level=high&sort=tokens", ("--level", "high", "--sort", "tokens"))):
        assert run_command(["runs", "--db", str(store), "--limit", "100", "--csv", *options]) == 0
        answer = page.get(f"/runs.csv{query}")
        assert answer.text == capsys.readouterr().out
        assert answer.headers["content-disposition"] == 'attachment; filename="corevital-runs.csv"'
        assert run_command(["runs", "--db", str(store), "--limit", "100", "--json", *options]) == 0
        assert page.get(f"/runs.json{query}").json() == json.loads(capsys.readouterr().out)
    assert page.get("/runs.json?level=high&model=nobody").text == "[]\n"
    assert len(page.get("/runs.csv?level=high&model=nobody").text.splitlines()) == 1
    assert page.get("/runs.xml").status_code == 404


def test_parquet_has_the_same_rows(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentelemetry_instrumentation_corevital.store.listed_runs.PAGE_RUNS", 5)
    page = browser(store)
    table = pyarrow.parquet.read_table(io.BytesIO(page.get("/runs.parquet?sort=tokens").content))
    rows = list(csv.DictReader(io.StringIO(page.get("/runs.csv?sort=tokens").text)))
    assert table.column("trace_id").to_pylist() == [row["trace_id"] for row in rows]
    risks = [None if row["risk_score"] == "" else float(row["risk_score"]) for row in rows]
    assert table.column("risk_score").to_pylist() == risks
    assert pyarrow.types.is_timestamp(table.schema.field("start").type)
    assert pyarrow.parquet.read_table(io.BytesIO(page.get("/runs.parquet?model=nobody").content)).num_rows == 0


def test_what_parquet_lacks_is_said(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_exports, "find_spec", lambda _: None)
    page = browser(store)
    answer = page.get("/runs.parquet")
    assert (answer.status_code, "Parquet needs pyarrow: pip install" in answer.text) == (501, True)
    assert "Parquet (needs pyarrow)" in page.get("/runs").text


# --- labels ----------------------------------------------------------------------------------------------------------

OURS = {"sec-fetch-site": "same-origin"}


def labels(store: Path) -> list[tuple[str, str | None]]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("SELECT outcome, note FROM labels").fetchall()


def form_of(text: str) -> tuple[str, dict[str, str]]:
    """Return the address of the first form that labels, and what it sends by itself."""
    path, inputs = re.search(r'<form method="post" action="([^"]*)">(.*?)</form>', text, re.DOTALL).groups()  # type: ignore[union-attr]
    return path, {name: unescape(value) for name, value in re.findall(r'hidden" name="(\w+)" value="([^"]*)"', inputs)}


def test_a_run_is_labelled_and_its_label_taken_away(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db")
    page = browser(store, allow_labels=True)
    path, sent = form_of(page.get("/runs?level=high&sort=tokens&limit=3").text)
    answer = page.post(path, data={**sent, "outcome": "fine", "note": "50 % \u00e4 <b>"}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?level=high&sort=tokens&limit=3")
    text = page.get(answer.headers["location"]).text
    assert '<span class="chip">fine</span>' in text
    assert 'value="fine"' in page.get("/runs?label=fine").text
    assert len(listed(page.get("/runs?label=fine").text)) == 1
    assert labels(store) == [("fine", "50 % \u00e4 <b>")]
    assert page.post(path, data={**sent, "outcome": ""}, headers={"origin": HERE}).status_code == 303
    assert listed(page.get("/runs?label=any").text) == []


def test_the_button_of_the_form_takes_a_label_away(tmp_path: Path) -> None:
    """A browser sends the fields of the form along with the button."""
    store = filled(tmp_path / "runs.db")
    page = browser(store, allow_labels=True)
    path, sent = form_of(page.get("/runs").text)
    page.post(path, data={**sent, "outcome": "fine", "note": ""}, headers=OURS)
    text = page.get("/runs?label=fine").text
    name, value = re.findall(r'name="(\w+)" value="(\w*)" formnovalidate>Remove', text)[0]
    answer = page.post(path, data={**sent, "outcome": "fine", "note": "", name: value}, headers=OURS)
    assert (answer.status_code, labels(store)) == (303, [])


def test_another_outcome_leaves_the_note(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db")
    page = browser(store, allow_labels=True)
    path, sent = form_of(page.get("/runs").text)
    for outcome, note in (("fine", "names the right year"), ("odd", ""), ("odd", "names none")):
        page.post(path, data={**sent, "outcome": outcome, "note": note}, headers=OURS)
        assert labels(store) == [(outcome, note or "names the right year")]


def test_a_note_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db")
    page = browser(store, allow_labels=True)
    path, sent = form_of(page.get("/runs").text)
    note = "\U0001f4a1" * 2000
    assert page.post(path, data={**sent, "outcome": "fine", "note": note}, headers=OURS).status_code == 303
    assert labels(store) == [("fine", note)]
    too_long = page.post(path, data={**sent, "outcome": "odd", "note": "x" * 70_000}, headers=OURS)
    assert (too_long.status_code, labels(store)) == (400, [("fine", note)])


def test_a_form_that_breaks_off_is_none() -> None:
    messages = iter([{"type": "http.request", "body": b"note=half", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, object]:
        return next(messages)

    assert asyncio.run(form_body(receive, 100)) is None


@pytest.mark.parametrize(
    ("changes", "headers", "status"),
    [
        ({"form_token": "x"}, OURS, 403),
        ({"form_token": "\u00e9"}, OURS, 403),
        ({}, {}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403),
        ({}, {"sec-fetch-site": "same-site"}, 403),
        ({}, {"origin": "https://evil.example"}, 403),
        ({}, {"origin": "null"}, 403),
        ({"outcome": "two words"}, OURS, 400),
        ({"outcome": "any"}, OURS, 400),
        ({"outcome": "", "note": "alone"}, OURS, 400),
        ({"note": "x" * 2001}, OURS, 400),
        ({f"more{count}": "x" for count in range(9)}, OURS, 400),
        ({"to": "//evil.example"}, OURS, 303),
        ({"to": "https://evil.example/"}, OURS, 303),
    ],
)
def test_what_is_no_label_of_ours_changes_nothing(
    tmp_path: Path, changes: dict[str, str], headers: dict[str, str], status: int
) -> None:
    store = filled(tmp_path / "runs.db")
    page = browser(store, allow_labels=True)
    path, sent = form_of(page.get("/runs").text)
    answer = page.post(path, data={**sent, "outcome": "fine", **changes}, headers=headers)
    assert answer.status_code == status
    assert "evil" not in answer.headers.get("location", "")
    assert len(keys(store, label="any")) == (status == 303)
    nobody = page.post(f"/runs/{'0' * 32}/{'0' * 16}/label", data={**sent, "outcome": "fine"}, headers=OURS)
    assert nobody.status_code == 404


def test_without_being_allowed_there_is_no_form_and_no_label(store: Path) -> None:
    page = browser(store)
    text = page.get("/runs").text
    assert 'method="post"' not in text
    answer = page.post(f"/runs/{listed(text)[0]}/label", data={"outcome": "fine"}, headers=OURS)
    assert (answer.status_code, "--allow-labels" in answer.text) == (403, True)
    assert page.get(f"/runs/{listed(text)[0]}/label").status_code in (404, 405)
