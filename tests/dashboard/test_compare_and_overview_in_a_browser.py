"""Models and runs side by side, and what a fleet does over time, in a real browser."""

from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Page
from tests.support.dashboard_process import Dashboard

if TYPE_CHECKING:
    from tests.support.dashboard_store import Filled

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("dashboard")]


def test_models_are_compared_over_their_prompts(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/compare"))
    text = browser.text()
    assert all(model in text for model in ("made/wild-3b", "made/steady-1b", "SmolLM2"))
    browser.wait_true("document.querySelectorAll('.chart canvas').length >= 3")
    tables = browser.evaluate("[...document.querySelectorAll('.chart-box')].every(each => each.querySelector('table'))")
    assert tables, "every chart has its table"


def test_runs_lie_side_by_side(served: Dashboard, browser: Page, filled: "Filled") -> None:
    runs = "&".join(f"run={path.split('/')[2]}" for path in (filled.answer, filled.repeated))
    browser.load(served.url(f"/compare?{runs}"))
    browser.wait_true("document.querySelector('.chart canvas')")
    text = browser.text()
    assert filled.answer.split("/")[2][:8] in text
    assert filled.repeated.split("/")[2][:8] in text
    assert "part" in text, "the first token at which they part"


def test_the_overview_follows_the_conditions(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/overview"))
    browser.wait_true("document.querySelectorAll('.chart canvas').length >= 4")
    assert "made/wild-3b" in browser.text()
    browser.load(served.url("/overview?model=made/steady-1b"))
    browser.wait_true("document.querySelector('.chart canvas')")
    assert "made/wild-3b" not in browser.evaluate("document.querySelector('table').innerText")
