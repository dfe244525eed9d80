"""The list of runs in a real browser: keys, filters, labels, the way there and back."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
from tests.support import browser
from tests.support.processes import free_port, wait_until
from tests.support.run_sources import spans_at

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "runs.db"
    exporter = SQLiteSpanExporter(path)
    for count in range(60):
        level = "high" if count % 3 == 0 else "low"
        changes = {semconv.RISK_LEVEL: level, semconv.GEN_AI_REQUEST_MODEL: f"org/{'very-' * 30}long-model-{count % 2}"}
        exporter.export(spans_at([10**18 + count], **changes))
    exporter.shutdown()
    return path


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    port = free_port()
    app = application(DashboardSettings(str(store), port=port, allow_labels=True))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.page(tmp_path_factory.mktemp("chromium"), 1440, 1000) as page:
        yield page


def until(page: browser.Page, expression: str) -> None:
    """Wait until a JavaScript expression is true, on whatever page comes meanwhile."""
    wait_until(lambda: page.evaluate(f"document.readyState === 'complete' && ({expression})"), 30)


def press(page: browser.Page, key: str) -> None:
    page._call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key if len(key) == 1 else "\r")
    page._call("Input.dispatchKeyEvent", type="keyUp", key=key)


def focused(page: browser.Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


@pytest.fixture
def names(store: Path) -> Callable[..., list[str]]:
    def names(**asked: str) -> list[str]:
        with open_store(store) as source:
            return [run.trace_id[:12] for run in source.runs(limit=None, **asked)]

    return names


def test_keys_go_through_the_list(page: browser.Page, address: str, names: Callable[..., list[str]]) -> None:
    page.open(f"{address}/runs")
    until(page, "document.querySelector('#compare button').disabled")
    expected = names()
    for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        press(page, key)
        assert focused(page) == expected[place]
    press(page, "x")
    press(page, "j")
    press(page, "x")
    until(page, "document.querySelector('#compare button').textContent === 'Compare 2 chosen runs'")
    assert page.evaluate("document.querySelector('#compare button').disabled") is False
    page.evaluate("document.querySelector('input[type=search]').focus()")
    press(page, "j")
    assert page.evaluate("document.querySelector('input[type=search]').value") == "j", "typed text is no command"
    page.evaluate("document.querySelector('a.run-link').focus()")
    press(page, "Enter")
    until(page, f"location.pathname.startsWith('/runs/{expected[0]}')")


def test_a_filter_of_the_form_becomes_an_address(
    page: browser.Page, address: str, names: Callable[..., list[str]]
) -> None:
    page.open(f"{address}/runs?sort=oldest")
    until(page, "document.querySelector('select[name=level]') !== null")
    page.evaluate("document.querySelector('select[name=level]').value = 'high'")
    page.evaluate("document.querySelector('form.filters button').click()")
    until(page, "document.querySelectorAll('a.run-link').length === 20")
    assert page.evaluate("new URLSearchParams(location.search).get('sort')") == "oldest"
    assert page.evaluate("document.querySelector('a.run-link').textContent") == names(level="high")[-1]
    page.evaluate("document.querySelector('a.chip').click()")
    until(page, "document.querySelectorAll('a.run-link').length === 50")
    page.evaluate("document.querySelector('a[rel=next]').click()")
    until(page, "document.querySelectorAll('a.run-link').length === 10")


def test_a_run_is_labelled_by_hand(page: browser.Page, address: str, names: Callable[..., list[str]]) -> None:
    page.open(f"{address}/runs?level=high")
    until(page, "document.querySelector('.label-form') !== null")
    page.evaluate("document.querySelector('.label-form summary').click()")
    page.evaluate("document.querySelector('.label-form input[name=outcome]').value = 'odd'")
    page.evaluate("document.querySelector('.label-form button').click()")
    until(page, "document.querySelector('.label-cell .chip')?.textContent === 'odd'")
    assert page.evaluate("location.search") == "?level=high"
    assert names(label="odd") == names(level="high")[:1]


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(page: browser.Page, address: str, width: int) -> None:
    page._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    page.open(f"{address}/runs?level=low")
    until(page, "document.querySelectorAll('a.run-link').length === 40")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
