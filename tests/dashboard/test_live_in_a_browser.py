"""Runs that go on, in a real browser: they appear, grow and end by themselves."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Page
from tests.support.dashboard_process import Dashboard, dashboard
from tests.support.step_logs import StepLogs, Telemetry

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("dashboard")]
STEPS = "Number(document.getElementById('live-run').dataset.drawn ?? 0)"


@pytest.fixture
def telemetry(served: Dashboard, store: Path) -> Iterator[Telemetry]:
    telemetry = Telemetry(store, service="live-tests")
    yield telemetry
    telemetry.close()


def test_a_run_appears_grows_and_ends_on_the_list(served: Dashboard, browser: Page, telemetry: Telemetry) -> None:
    browser.load(served.url("/live"))
    call = StepLogs(telemetry)
    call.step(3)
    browser.wait_for(call.trace_id[:12])
    row = f"document.querySelector('[data-id=\"{call.trace_id}/{call.span_id}\"]')"
    assert browser.evaluate(f"{row}.querySelector('a').getAttribute('href')") == f"/live/{call.trace_id}/{call.span_id}"
    start = time.monotonic()
    call.step(40, warnings=["norm_jump"])
    browser.wait_true(f"{row}.innerText.includes('step 43') && {row}.innerText.includes('norm jump')")
    assert time.monotonic() - start < 5
    assert "run goes on" in browser.evaluate("document.querySelector('[role=status]').innerText")
    call.end()
    browser.wait_true(f"document.querySelector('#finished a[href=\"/runs/{call.trace_id}/{call.span_id}\"]')")
    assert not browser.evaluate(f"!!document.querySelector('#running [data-id=\"{call.trace_id}/{call.span_id}\"]')")


def test_the_page_of_a_run_grows_until_it_leads_to_the_finished_run(
    served: Dashboard, browser: Page, telemetry: Telemetry
) -> None:
    call = StepLogs(telemetry, sequences=2)
    call.step(20)
    browser.load(served.url(f"/live/{call.trace_id}/{call.span_id}"))
    browser.wait_true(f"{STEPS} === 20")
    assert "The history of the 宇宙" in browser.text()
    assert browser.evaluate("document.querySelectorAll('#live-strip span').length") == 20
    assert browser.evaluate("document.querySelectorAll('[data-chart] canvas').length") == 6
    assert browser.evaluate("[...document.querySelectorAll('figure')].filter(each => each.hidden).length") == 3, (
        "steps have no margin, no top-1 probability and no answer risk"
    )
    call.step(15, warnings=["norm_jump"])
    browser.wait_true(f"{STEPS} === 35")
    assert "norm jump" in browser.text()
    assert browser.evaluate("document.querySelectorAll('#live-sequence option').length") == 2
    browser.evaluate("document.querySelector('details').open = true")
    assert browser.evaluate("document.querySelector('#live-rows th').innerText") == "34"
    call.end()
    browser.wait_for("is over")
    links = browser.evaluate("[...document.querySelectorAll('#live-end a')].map(each => each.getAttribute('href'))")
    assert len(links) == 2
    assert all(link.startswith(f"/runs/{call.trace_id}/") for link in links)


def test_a_page_that_comes_back_goes_on_where_it_was(served: Dashboard, browser: Page, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry, content=False)
    call.step(5)
    browser.load(served.url(f"/live/{call.trace_id}/{call.span_id}"))
    browser.wait_true(f"{STEPS} === 5")
    browser.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    call.step(5)
    asked = len(browser.asked)
    browser.evaluate("dispatchEvent(new PageTransitionEvent('pageshow'))")
    browser.wait_true(f"{STEPS} === 10")
    assert browser.evaluate("document.querySelectorAll('#live-strip span').length") == 10, "none stands there twice"
    assert browser.evaluate("document.querySelector('#live-strip').innerText") == "0123456789", "no text"
    assert "behind=" in browser.asked[asked]


def test_a_dashboard_with_open_pages_stops_at_once_and_the_page_says_so(
    store: Path, filled: object, browser: Page, tmp_path: Path
) -> None:
    with dashboard(store, tmp_path) as served:
        browser.load(served.url("/live"))
        browser.wait_true("performance.getEntriesByType('resource').length > 0")
        time.sleep(0.5)
        code, seconds = served.stop()
    assert code == 0, served.log.read_text()
    assert seconds < 2, "no stream keeps it"
    browser.wait_true("!document.querySelector('[data-connection]').hidden")
    assert "Traceback" not in served.log.read_text()
    browser.troubles()  # that the server has gone is an error of the network
