"""The page of a run on the server: what it shows, where it leads, what it gives as a file."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.dashboard.addresses import run_path
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.store import RunSummary, SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.store.cursors import RunOrder
from tests.support.spans import make_spans

HERE = "http://127.0.0.1:4419"
SECRET = "what only another run says"


@dataclass
class Served:
    """A store's dashboard, and its runs, the newest first."""

    client: TestClient
    runs: list[RunSummary]
    path: Path


def served(path: Path) -> Served:
    with open_store(path) as store:
        runs = store.runs(limit=None)
    app = application(DashboardSettings(str(path)))
    return Served(TestClient(app, base_url=HERE, follow_redirects=False), list(runs), path)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Served:
    path = tmp_path_factory.mktemp("dashboard") / "runs.db"
    exporter = SQLiteSpanExporter(str(path))
    for model in ("org/a", "org/b", "org/a"):
        told = {semconv.GEN_AI_REQUEST_MODEL: model, semconv.STEPS_TOTAL: 3, semconv.NARRATIVE: f"A run of {model}."}
        exporter.export(make_spans(1, events=3, **told))
    exporter.export(make_spans(1, **{semconv.GEN_AI_REQUEST_MODEL: "org/c", semconv.NARRATIVE: SECRET}))
    exporter.shutdown()
    return served(path)


def test_a_run_has_a_page_with_its_parts(three: Served) -> None:
    run = next(each for each in three.runs if each.model == "org/b")
    answer = three.client.get(run_path(run))
    assert answer.status_code == 200
    for title in ("Risk", "Health flags", "Warnings", "Blamed layers", "Token by token", "Identity and settings"):
        assert f">{title}</h2>" in answer.text
    assert "A run of org/b." in answer.text
    assert re.search(r'<script type="module" src="/static/[0-9a-f]{16}/run.js"', answer.text)
    assert "style=" not in answer.text
    for module in re.findall(r'rel="modulepreload" href="([^"]*)"', answer.text):
        assert three.client.get(module).headers["content-type"].startswith("text/javascript")
    assert SECRET not in answer.text, "nothing of another run is in a page"


@pytest.mark.parametrize("path", ["x/y", "{trace}/0000000000000000", "{trace}/..%2f", "0" * 32 + "/" + "0" * 16])
def test_a_run_that_is_not_there_is_no_page(three: Served, path: str) -> None:
    assert three.client.get(f"/runs/{path.format(trace=three.runs[0].trace_id)}").status_code == 404


@pytest.mark.parametrize("ending", ["", ".html", ".json", ".otlp.json", "/next", "/previous"])
def test_a_wrong_parameter_is_named(three: Served, ending: str) -> None:
    answer = three.client.get(f"{run_path(three.runs[0])}{ending}?risk_above=much")
    assert answer.status_code == 400
    assert "risk_above" in answer.text


def test_next_and_previous_stay_in_the_filtered_list(three: Served) -> None:
    of_a = [run for run in three.runs if run.model == "org/a"]
    query = "?model=org%2Fa"
    page = three.client.get(run_path(of_a[0]) + query).text
    assert f'rel="next" data-key="j" href="{run_path(of_a[1])}{query}"' in page
    assert 'rel="prev"' not in page
    assert f'href="/runs{query}"' in page, "the list keeps its conditions"
    assert three.client.get(f"{run_path(of_a[0])}/next{query}").headers["location"] == run_path(of_a[1]) + query
    assert three.client.get(f"{run_path(of_a[1])}/previous{query}").headers["location"] == run_path(of_a[0]) + query
    assert three.client.get(f"{run_path(of_a[1])}/next{query}").headers["location"] == run_path(of_a[1]) + query


def test_the_order_of_the_list_is_that_of_its_neighbours(three: Served) -> None:
    with open_store(three.path) as store:
        oldest_first = store.runs(order=RunOrder.OLDEST, limit=None)
    page = three.client.get(f"{run_path(oldest_first[0])}?sort=oldest").text
    assert f'rel="next" data-key="j" href="{run_path(oldest_first[1])}?sort=oldest"' in page
    assert 'rel="prev"' not in page


def test_runs_that_behaved_alike_are_listed_with_their_distance(tmp_path: Path) -> None:
    exporter = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    for number in (0.5, 0.6, 0.9):
        vector = {semconv.FINGERPRINT_VECTOR: [number] * 12, semconv.FINGERPRINT_VERSION: "1"}
        exporter.export(make_spans(1, **vector))
    exporter.shutdown()
    found = served(tmp_path / "runs.db")
    newest, middle, oldest = found.runs
    page = found.client.get(f"{run_path(oldest)}?sort=oldest").text
    alike = page[page.index("similar-title") :]
    assert re.findall(r'<td class="num">(0\.\d+)</td><td><a href="([^"]*)"', alike) == [
        ("0.100", f"{run_path(middle)}?sort=oldest"),
        ("0.400", f"{run_path(newest)}?sort=oldest"),
    ]


def test_a_run_without_a_fingerprint_says_so(three: Served) -> None:
    page = three.client.get(run_path(three.runs[0])).text
    assert "fingerprint" in page[page.index("similar-title") :]


def test_the_html_file_needs_nothing_else(three: Served) -> None:
    answer = three.client.get(f"{run_path(three.runs[0])}.html")
    assert answer.headers["content-disposition"].startswith('attachment; filename="run-')
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in answer.text
    assert not re.search(r'(src|href)="(?!#)', answer.text)


def test_the_report_is_that_of_the_command(three: Served) -> None:
    run = three.runs[0]
    report = json.loads(three.client.get(f"{run_path(run)}.json").text)
    assert report["schema_version"] == "0.4.0"
    assert run.trace_id in json.dumps(report)


def test_the_otlp_export_has_this_run_alone(three: Served) -> None:
    run = next(each for each in three.runs if each.model == "org/b")
    answer = three.client.get(f"{run_path(run)}.otlp.json")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    groups = [group for line in lines for group in line["resourceSpans"]]
    spans = [span for group in groups for some in group["scopeSpans"] for span in some["spans"]]
    assert [(span["traceId"], span["spanId"]) for span in spans] == [(run.trace_id, run.span_id)]
    assert SECRET not in answer.text


def test_what_was_labelled_is_said(three: Served) -> None:
    with open_store(three.path) as store:
        store.set_label(three.runs[0], "bad", "it <b>wanders</b>")
    page = three.client.get(run_path(three.runs[0])).text
    assert "label: bad" in page
    assert "it &lt;b&gt;wanders&lt;/b&gt;" in page
