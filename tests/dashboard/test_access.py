"""Who may look, and what browsers are told."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from opentelemetry_instrumentation_corevital.dashboard.access import COOKIE, HEADERS, cookie_name
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.store.database import open_database

TOKEN = "correct-horse"
NAME = cookie_name(TOKEN)
HERE = "http://127.0.0.1:4419"


def client(folder: Path, base_url: str = HERE, **settings: object) -> TestClient:
    store = folder / "runs.db"
    open_database(store).close()
    app = application(DashboardSettings(str(store), **settings))  # type: ignore[arg-type]
    return TestClient(app, base_url=base_url, follow_redirects=False)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1].evil"])
def test_a_name_that_is_not_ours_is_refused(tmp_path: Path, host: str) -> None:
    """Or a site could let its own name mean 127.0.0.1 and read our pages."""
    answer = client(tmp_path).get("/", headers={"host": host})
    assert (answer.status_code, "--allowed-host" in answer.text) == (421, True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4419", "localhost:4419", "LOCALHOST", "[::1]:4419", "10.0.0.7", "runs.lan:80"]
)
def test_an_address_or_a_name_of_ours_comes_in(tmp_path: Path, host: str) -> None:
    assert client(tmp_path, allowed_hosts=("runs.lan",)).get("/", headers={"host": host}).status_code == 303


@pytest.mark.parametrize("path", ["/", "/runs", "/no-such-page", "/runs/x/y"])
def test_without_the_token_there_is_only_the_form(tmp_path: Path, path: str) -> None:
    answer = client(tmp_path, token=TOKEN).get(path)
    assert answer.status_code == 401
    assert "needs its token" in answer.text
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize("path", ["/static/0/nothing", "/static/x", "/healthz/", "/healthzz", "/sign-in/x"])
def test_what_everybody_may_have_does_not_name_the_store(tmp_path: Path, path: str) -> None:
    assert str(tmp_path) not in client(tmp_path, token=TOKEN).get(path).text


def test_the_token_in_an_address_becomes_a_cookie(tmp_path: Path) -> None:
    browser = client(tmp_path, token=TOKEN)
    answer = browser.get(f"/no-such-page?level=high&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/no-such-page?level=high")
    cookie = answer.headers["set-cookie"].lower()
    assert TOKEN not in cookie
    assert all(word in cookie for word in ("httponly", "samesite=strict", COOKIE))
    assert browser.get("/no-such-page").status_code == 404


def test_the_form_lets_in_who_knows_the_token(tmp_path: Path) -> None:
    browser = client(tmp_path, token=TOKEN)
    assert browser.post("/sign-in", data={"token": "wrong"}).status_code == 401
    answer = browser.post("/sign-in", data={"token": TOKEN, "to": "/runs?level=high"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?level=high")
    assert browser.get("/no-such-page").status_code == 404


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_form_leads_nowhere_else(tmp_path: Path, to: str) -> None:
    answer = client(tmp_path, token=TOKEN).post("/sign-in", data={"token": TOKEN, "to": to})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    ("header", "status"), [(f"Bearer {TOKEN}", 404), ("Bearer x", 401), (TOKEN, 401), ("Bearer é", 401)]
)
def test_programs_send_the_token_in_a_header(tmp_path: Path, header: str, status: int) -> None:
    answer = client(tmp_path, token=TOKEN).get("/no-such-page", headers={"authorization": header.encode()})
    assert answer.status_code == status


@pytest.mark.parametrize("cookie", [f"{NAME}={TOKEN}", f"{NAME}=", f"{NAME}=é", '=";'])
def test_another_cookie_is_none(tmp_path: Path, cookie: str) -> None:
    assert client(tmp_path, token=TOKEN).get("/runs", headers={"cookie": cookie.encode()}).status_code == 401


def test_cookies_of_other_programs_on_this_machine_do_not_sign_out(tmp_path: Path) -> None:
    """A browser sends those of all ports of a host."""
    value = client(tmp_path, token=TOKEN).get(f"/live?token={TOKEN}").cookies[NAME]
    headers = {"cookie": f'state={{"open": [1, 2]}}; {cookie_name("another")}=x; {NAME}={value}'}
    assert client(tmp_path, token=TOKEN).get("/no-such-page", headers=headers).status_code == 404


@pytest.mark.parametrize("path", ["/", "/no-such-page", "/sign-in", "/static/0/theme.css", "/static/0/nothing"])
def test_every_response_has_the_headers(tmp_path: Path, path: str) -> None:
    answer = client(tmp_path).get(path)
    assert HEADERS.items() <= dict(answer.headers).items()
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_pages_are_kept_by_nobody_and_files_for_ever(tmp_path: Path) -> None:
    browser = client(tmp_path)
    page = browser.get("/no-such-page")
    assert page.headers["cache-control"] == "no-store"
    address = page.text.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    assert "immutable" in browser.get(address).headers["cache-control"]


@pytest.mark.parametrize("name", ["..%2f..%2fpyproject.toml", "%2e%2e", "vendored.json", "echarts.LICENSE", "%00"])
def test_no_request_names_a_file(tmp_path: Path, name: str) -> None:
    assert client(tmp_path).get(f"/static/0/{name}").status_code == 404


def test_everybody_may_ask_whether_it_works(tmp_path: Path) -> None:
    browser = client(tmp_path, token=TOKEN)
    assert (browser.get("/healthz").status_code, browser.get("/healthz").json()) == (200, {"status": "ok"})
    (tmp_path / "runs.db").unlink()
    answer = browser.get("/healthz")
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
