"""Overview and comparisons in a real browser: charts are drawn, the way from one page to the next, one cursor."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from tests.support import browser
from tests.support.made_runs import make_run
from tests.support.processes import free_port, wait_until
from tests.support.run_sources import SQLitePlace, spans_at

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on the PATH"),
]
MODELS = ("org/small", "org/" + "very-" * 30 + "large")
DRAWN = "[...document.querySelectorAll('.chart')].every(e => e.querySelector('canvas'))"
NARROW = "document.documentElement.scrollWidth <= window.innerWidth"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place, now = SQLitePlace(tmp_path_factory.mktemp("comparisons")), time.time_ns()
    for prompt in range(5):
        for number, model in enumerate(MODELS):
            tokens = [1, 2, 3, 4 + number, 5, 6]
            run = make_run(len(tokens), tokens=tokens, entropy=np.asarray(tokens) / 2)
            said: dict[str, Any] = {
                semconv.GEN_AI_REQUEST_MODEL: model,
                semconv.RISK_SCORE: 0.1 * prompt + (0.5 + 0.02 * prompt) * number,
                semconv.RISK_LEVEL: "high" if number else "low",
                semconv.ENTROPY_MEAN: 1.0 + number,
                semconv.FINGERPRINT_PROMPT_HASH: f"{prompt:02x}" * 32,
                semconv.FINGERPRINT_PROMPT_HASH_SOURCE: "text",
            }
            place.add(spans_at([now - (1 + prompt) * 3600 * 10**9], **said), to_npz(run_columns(run, content=True)))
    port = free_port()
    app = application(DashboardSettings(str(place.path), port=port))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.page(tmp_path_factory.mktemp("chromium"), 1440, 1400) as page:
        yield page


def until(page: browser.Page, expression: str) -> None:
    """Wait until a JavaScript expression is true, on whatever page comes meanwhile."""
    wait_until(lambda: page.evaluate(f"document.readyState === 'complete' && ({expression})"), 30)


def follow(page: browser.Page, selector: str, to: str) -> None:
    """Follow a link or press a button; wait for the page that has this in its address."""
    page.evaluate(f"document.querySelector({selector!r}).click()")
    until(page, f"location.href.includes({to!r})")


def test_the_overview_draws_its_charts_and_keeps_its_range_in_the_address(page: browser.Page, address: str) -> None:
    page.open(f"{address}/overview")
    until(page, f"document.querySelectorAll('.chart').length > 6 && {DRAWN}")
    assert page.evaluate(NARROW)
    page.evaluate("document.querySelector('details.numbers summary').click()")
    assert page.evaluate("document.querySelector('details.numbers table').offsetHeight > 0")
    follow(page, ".ranges a:last-of-type", "range=all")
    page.evaluate("document.querySelector('select[name=level]').value = 'high'")
    follow(page, "form.overview-filters button", "level=high")
    assert "range=all" in page.evaluate("location.search")
    until(page, "document.querySelectorAll('th.model-name').length === 1")  # the other has no run of high risk
    follow(page, ".chips a.chip", "range=all")
    assert "level" not in page.evaluate("location.search")


def test_models_then_runs_side_by_side_with_one_cursor(page: browser.Page, address: str) -> None:
    page.open(f"{address}/compare")
    until(page, f"document.querySelectorAll('.chart').length === 3 && {DRAWN}")
    assert page.evaluate(NARROW)
    page.evaluate("document.querySelector('select[name=reference]').value = 'org/small'")
    follow(page, "form.compare-form button", "reference=org%2Fsmall")
    page.wait_for("against org/small: clearly different: risk +0.54")
    follow(page, ".links a", "run=")
    until(page, f"document.querySelectorAll('.chart').length >= 4 && {DRAWN}")
    assert page.evaluate(NARROW)
    second = "document.querySelectorAll('.chart canvas')[1].toDataURL()"
    before = page.evaluate(second)
    page.evaluate("document.querySelector('.chart').scrollIntoView({ block: 'center' })")
    box = "document.querySelector('.chart').getBoundingClientRect()"
    x, y = page.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
    page._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    wait_until(lambda: page.evaluate(second) != before, 30)


def test_pages_fit_a_phone(page: browser.Page, address: str) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    page._call("Emulation.setDeviceMetricsOverride", **size)
    try:
        for path in ("/overview?range=all", "/compare"):
            page.open(f"{address}{path}")
            until(page, DRAWN)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    finally:
        page._call("Emulation.clearDeviceMetricsOverride")
