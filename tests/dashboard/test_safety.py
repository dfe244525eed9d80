"""What every page of the dashboard keeps, whatever is asked: headers, a store that is read only, no error of ours."""

import hmac
import sqlite3
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from opentelemetry_instrumentation_corevital.dashboard import access
from opentelemetry_instrumentation_corevital.dashboard.addresses import CONDITIONS
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard import Dashboard
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.presentation.pages.assets import asset_address
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.spans import make_spans

TOKEN = "a-token_of.16+signs"
PAGES = ("/runs", "/overview", "/compare", "/live")
BOUNDED = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ODD = (
    *("", "-1", "1e999", "nan", "0x10", "9" * 400, "'", "%00", "\x00", "\ud800", "../..", "high", "last", "7d", "any"),
    *("-9999999999h", "9999-12-31T23:59:59", f"1.1.{'0' * 32}.0.{'0' * 16}", "٣", "risk", "--", '"><script>'),
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "runs.db"
    exporter = SQLiteSpanExporter(str(path))
    exporter.export(make_spans(3, events=2))
    exporter.shutdown()
    return path


@pytest.fixture(scope="module")
def run(db: Path) -> str:
    """Return the path of a run's page."""
    with Dashboard(DashboardSettings(str(db))).source() as source:
        (found,) = source.runs(limit=1)
    return f"/runs/{found.trace_id}/{found.span_id}"


def client(db: Path, **told: Any) -> TestClient:
    app = application(DashboardSettings(str(db), **told))
    return TestClient(app, base_url="http://localhost:4419", follow_redirects=False, raise_server_exceptions=False)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_every_response_says_what_a_browser_may_do(db: Path, run: str, token: str | None) -> None:
    browser, seen = client(db, token=token), set()
    known = {} if token is None else {"authorization": f"Bearer {token}"}
    files = [asset_address("theme.css"), "/static/0/none"]
    for address in (
        "/",
        *PAGES,
        run,
        f"{run}.json",
        f"{run}.html",
        f"{run}/next",
        "/none",
        "/live?no=1",
        "/sign-in",
        *files,
    ):
        for headers in ({}, known, {"host": "elsewhere.example"}):
            answer = browser.get(address, headers=headers)
            seen.add(answer.status_code)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'"), address
            assert "frame-ancestors 'none'" in policy
            assert not [word for word in ("unsafe", "http:", "https:", "*") if word in policy]
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "server" not in answer.headers
            if address != files[0]:
                assert answer.headers["cache-control"] == "no-store", address
    assert seen >= {200, 303, 400, 404, 421} | ({401} if token else set()), seen


def test_nothing_is_changed_by_a_request_where_nothing_may_be(db: Path, run: str) -> None:
    browser = client(db)
    for address in (*PAGES, run, f"{run}/label"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = browser.request(method, address, headers={"sec-fetch-site": "same-origin"})
            assert answer.status_code in (403, 404, 405), (method, address)


def test_the_store_is_opened_for_reading(db: Path) -> None:
    with Dashboard(DashboardSettings(str(db))).source() as source:
        connection = source._connection  # type: ignore[attr-defined]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM runs")


def test_the_token_is_compared_in_constant_time(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    class Watched:
        new = staticmethod(hmac.new)

        @staticmethod
        def compare_digest(given: Any, known: Any) -> bool:
            compared.append(len(known))
            return hmac.compare_digest(given, known)

    monkeypatch.setattr(access, "hmac", Watched)
    browser = client(db, token=TOKEN)
    browser.get("/live", headers={"authorization": "Bearer x"})
    browser.get("/live", headers={"cookie": f"{access.cookie_name(TOKEN)}=x"})
    browser.get("/live?token=x")
    browser.post("/sign-in", data={"token": "x"})
    assert compared == [len(TOKEN), 64, len(TOKEN), len(TOKEN)]


def test_over_https_the_cookie_never_leaves_it(db: Path) -> None:
    app = application(DashboardSettings(str(db), token=TOKEN))
    answer = TestClient(app, base_url="https://localhost", follow_redirects=False).get(f"/live?token={quote(TOKEN)}")
    assert "Secure" in answer.headers["set-cookie"]


# --- whatever is asked -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked(db: Path) -> TestClient:
    return client(db, allow_labels=True)


def texts() -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(ODD), st.text(max_size=30), st.text(string.printable, max_size=30))


def queries() -> st.SearchStrategy[str]:
    others = ("sort", "order", "after", "ahead", "limit", "models", "run", "signal", "behind", "bucket", "token")
    names = st.one_of(st.sampled_from([*CONDITIONS, *others]), st.text(max_size=8))
    pairs = st.lists(st.tuples(names, texts()), max_size=5)
    joined = pairs.map(lambda found: "&".join(f"{quoted(name)}={quoted(value)}" for name, value in found))
    return st.one_of(joined, st.text(string.printable, max_size=60).map(quoted), st.binary(max_size=20).map(quote))


def quoted(text: str, safe: str = "&=;+%") -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe=safe)


@BOUNDED
@given(st.data())
def test_a_query_has_an_answer_or_is_the_mistake_of_who_asks(asked: TestClient, run: str, data: Any) -> None:
    pages = (*PAGES, run, f"{run}/next", f"{run}.json", "/runs.csv", "/sign-in", "/")
    address = f"{data.draw(st.sampled_from(pages))}?{data.draw(queries())}"
    answer = asked.get(address)
    assert answer.status_code < 500, (address, answer.text[:2000])


@BOUNDED
@given(first=st.sampled_from(["runs", "live", "static", "compare", ""]), rest=st.lists(texts(), min_size=1, max_size=4))
def test_a_path_has_an_answer_or_is_the_mistake_of_who_asks(asked: TestClient, first: str, rest: list[str]) -> None:
    path = "/".join(["", first, *(quoted(each, "") for each in rest)])
    assert asked.get(f"http://localhost:4419{path}").status_code < 500, path
