"""A store whose every text is hostile, in a real browser: nothing of it runs, and every page can be used."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Page
from tests.support.dashboard_process import Dashboard, dashboard
from tests.support.hostile_texts import RAN, TEXTS, Hostile, fill

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("dashboard")]
LISTS = ("/runs", "/runs?sort=risk", "/overview", "/compare", "/live")
MARKUP = "document.querySelectorAll('img[src=x], svg[onload], b[style], [onerror], main script:not([type])').length"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dashboard, dict[str, Hostile]]]:
    folder = tmp_path_factory.mktemp("hostile")
    ids = fill(folder / "runs.db")
    with dashboard(folder / "runs.db", folder, "--allow-labels") as served:
        yield served, ids


def nothing_ran(browser: Page, path: str) -> None:
    assert browser.evaluate(f"typeof {RAN}") == "undefined", path
    assert browser.evaluate(MARKUP) == 0, path
    assert browser.evaluate("document.querySelectorAll('main').length") == 1, path
    assert browser.evaluate("document.cookie") == "", path
    assert browser.fits(), f"{path}: beyond the window"
    assert browser.troubles() == [], path


@pytest.mark.parametrize("path", LISTS)
def test_no_text_runs_on_a_page_of_all(hostile: tuple[Dashboard, dict[str, Hostile]], browser: Page, path: str) -> None:
    browser.load(hostile[0].url(path))
    browser.wait_true("document.querySelector('h1')")
    nothing_ran(browser, path)
    browser.resize(390, 800)
    nothing_ran(browser, path)


@pytest.mark.parametrize("kind", TEXTS)
def test_no_text_runs_on_the_pages_of_a_run(
    hostile: tuple[Dashboard, dict[str, Hostile]], browser: Page, kind: str
) -> None:
    served, ids = hostile
    trace, span = ids[kind].run
    browser.load(served.url(f"/runs/{trace}/{span}"))
    assert trace[:8] in browser.text()
    nothing_ran(browser, kind)
    browser.load(served.url(f"/live/{'/'.join(ids[kind].running)}"))
    browser.wait_true("document.getElementById('live-run').dataset.drawn")
    nothing_ran(browser, kind)
