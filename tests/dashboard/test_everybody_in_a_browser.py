"""Pages for everybody: no barrier that axe-core finds, in the light and in the dark; keys; small windows."""

from typing import TYPE_CHECKING

import pytest

from tests.support.accessibility import violations
from tests.support.browser import Page
from tests.support.dashboard_process import Dashboard

if TYPE_CHECKING:
    from tests.support.dashboard_store import Filled

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("dashboard")]
VIEWS = (
    "/runs",
    "/runs?level=high&sort=risk",
    "answer",
    "looping",
    "/compare",
    "/overview",
    "/live",
    "/runs/none/none",
)


@pytest.mark.parametrize("view", VIEWS)
def test_no_barrier_in_either_theme_and_nothing_wider_than_the_window(
    served: Dashboard, browser: Page, filled: "Filled", view: str
) -> None:
    browser.load(served.url(getattr(filled, view, view)))
    found = list[str]()
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        found += [f"{scheme}: {each}" for each in violations(browser)]
    browser.resize(390, 800)
    if not browser.fits():
        found.append("wider than 390 pixels")
    if view == "/runs/none/none":
        browser.troubles()  # that it is not there
    assert found == []


def test_the_keys_are_shown_and_go_to_the_search_from_everywhere(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/live"))
    open_ = "document.getElementById('help').open"
    browser.press("?")
    browser.wait_true(open_)
    assert violations(browser) == []
    browser.press("Escape")
    browser.wait_true(f"!{open_}")
    browser.click("button[data-opens-help]", "Keys")
    browser.wait_true(open_)
    browser.press("?")
    browser.wait_true(f"!{open_}")
    browser.press("/")
    browser.wait_true("location.pathname === '/runs' && document.activeElement?.type === 'search'")
    browser.press("?")
    assert not browser.evaluate(open_), "who types types"


def test_little_motion_is_respected(served: Dashboard, browser: Page) -> None:
    browser.prefer("light", reduced_motion=True)
    browser.load(served.url("/overview"))
    browser.wait_true("document.querySelector('.chart canvas')")
    assert browser.evaluate("document.getAnimations().length") == 0
