"""The page of a run, in a real browser: verdict, one cursor, choice of signal, neighbours, export."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Page
from tests.support.dashboard_process import Dashboard

if TYPE_CHECKING:
    from tests.support.dashboard_store import Filled

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("dashboard")]
STEP = "document.getElementById('cursor-number').innerText"
NUMBERS = "document.getElementById('cursor-numbers').innerText"


def test_the_verdict_comes_first_with_evidence_and_what_to_do(
    served: Dashboard, browser: Page, filled: "Filled"
) -> None:
    browser.load(served.url(filled.looping))
    text = browser.text()
    assert text.index("loop") < text.index("Token by token") if "Token by token" in text else "loop" in text
    assert "high" in browser.evaluate("document.querySelector('.level').className")
    assert browser.evaluate("document.querySelectorAll('.timelines canvas').length") == 1


def test_one_cursor_goes_through_tokens_lines_and_maps(served: Dashboard, browser: Page, filled: "Filled") -> None:
    browser.load(served.url(filled.answer))
    browser.wait_true("document.querySelector('#timelines canvas')")
    browser.evaluate("document.querySelectorAll('.strip-tokens span')[5].scrollIntoView({block: 'center'})")
    browser.evaluate("document.querySelectorAll('.strip-tokens span')[5].id = 'sixth'")
    browser.hover("#sixth")
    browser.wait_true(f"{STEP} === '5'")
    assert "surprisal" in browser.evaluate(NUMBERS)
    browser.evaluate("document.getElementById('strip').focus()")
    browser.press("ArrowRight")
    browser.wait_true(f"{STEP} === '6'")
    browser.press("ArrowLeft")
    browser.wait_true(f"{STEP} === '5'")
    browser.hover("#timelines", across=0.5, down=0.5)
    browser.wait_true(f"Number({STEP}) > 6 && Number({STEP}) < 18")
    browser.hover("#map", across=0.95, down=0.5)
    browser.wait_true(f"Number({STEP}) > 18")


def test_tokens_and_maps_show_a_chosen_signal(served: Dashboard, browser: Page, filled: "Filled") -> None:
    browser.load(served.url(filled.answer))
    browser.wait_true("document.querySelector('#timelines canvas')")
    shades = "[...document.querySelectorAll('.strip-tokens span')].map(each => each.className).join()"
    before = browser.evaluate(shades)
    browser.evaluate(
        "(s => { s.selectedIndex = 1; s.dispatchEvent(new Event('change', {bubbles: true})); })"
        "(document.getElementById('strip-signal'))"
    )
    browser.wait_true(f"{shades} !== {json.dumps(before)}")
    assert browser.evaluate("document.querySelectorAll('#map-signal option').length") > 3


def test_text_is_there_only_where_it_was_stored(served: Dashboard, browser: Page, filled: "Filled") -> None:
    browser.load(served.url(filled.answer))
    assert "primary colours" in browser.text()
    browser.load(served.url(filled.plain))
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" in browser.text()
    assert "haiku" not in browser.text()


def test_keys_go_to_the_neighbours_in_the_filtered_list(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs?level=high&sort=risk"))
    links = browser.evaluate("[...document.querySelectorAll('a.run-link')].map(each => each.pathname)")
    browser.click("a.run-link", links[0].split("/")[2][:8])
    browser.wait_true(f"location.pathname === '{links[0]}' && document.readyState === 'complete'")
    browser.press("j")
    browser.wait_true(f"location.pathname === '{links[1]}' && document.readyState === 'complete'")
    assert "level=high" in browser.evaluate("location.search")
    browser.press("k")
    browser.wait_true(f"location.pathname === '{links[0]}'")


def test_a_run_that_failed_at_its_first_step_has_a_page(served: Dashboard, browser: Page, filled: "Filled") -> None:
    browser.load(served.url(filled.failed))
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1
    assert "error" in browser.text()


def test_the_exported_file_opens_without_a_server(
    served: Dashboard, browser: Page, filled: "Filled", tmp_path: Path
) -> None:
    file = tmp_path / "run.html"
    file.write_bytes(served.get(f"{filled.answer}.html"))
    asked = len(browser.asked)
    browser.load(file.as_uri())
    browser.wait_true("document.querySelector('#timelines canvas')")
    assert "primary colours" in browser.text()
    loaded = [each for each in browser.asked[asked:] if not each.startswith(("data:", "blob:"))]
    assert loaded == [file.as_uri()], "it loads nothing"
    assert file.stat().st_size < 2_000_000
    assert json.loads(served.get(f"{filled.answer}.json"))
    assert all(json.loads(line) for line in served.get(f"{filled.answer}.otlp.json").splitlines())
