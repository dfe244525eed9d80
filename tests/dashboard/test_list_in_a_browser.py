"""The list of runs, in a real browser: filter, sort, page, share, label, export, choose."""

import csv
import json

import pytest

from tests.support.browser import Page
from tests.support.dashboard_process import Dashboard

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("dashboard")]
ROWS = "document.querySelectorAll('table.runs tbody tr').length"
LEVELS = "[...document.querySelectorAll('table.runs tbody .level')].map(each => each.innerText.split(' ')[0])"
RISKS = "[...document.querySelectorAll('table.runs tbody .level b')].map(each => Number(each.innerText))"
CHOICES = "[...document.querySelectorAll('input[name=run]')].map(each => each.value)"
LINKS = "[...document.querySelectorAll('a.run-link')].map(each => each.getAttribute('href'))"


def test_a_filter_is_an_address_that_can_be_shared(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs"))
    browser.evaluate("document.querySelector('select[name=level]').value = 'high'")
    browser.click("form.filters button", "Filter")
    browser.wait_true("location.search.includes('level=high') && document.readyState === 'complete'")
    assert set(browser.evaluate(LEVELS)) == {"high"}
    links, address = browser.evaluate(LINKS), str(browser.evaluate("location.href"))
    browser.load("about:blank")
    browser.load(address)
    assert browser.evaluate(LINKS) == links, "the same for who gets the address"
    browser.click("a.run-link", links[0].split("/")[2][:8])
    browser.wait_true("location.pathname.startsWith('/runs/')")
    assert "level=high" in browser.evaluate("location.search"), "the filter stays"


def test_the_list_is_sorted_and_turned_over(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs?limit=20"))
    browser.click("a.sort", "Risk")
    browser.wait_true("document.querySelector('th[aria-sort] a.sort')?.innerText.startsWith('Risk')")
    risks = browser.evaluate(RISKS)
    assert risks == sorted(risks, reverse=True)
    first = browser.evaluate(CHOICES)
    browser.click("nav.below a", "Next")
    browser.wait_true(f"JSON.stringify({CHOICES}) !== {json.dumps(json.dumps(first, separators=(',', ':')))}")
    assert not {*first} & {*browser.evaluate(CHOICES)}
    assert max(browser.evaluate(RISKS)) <= min(risks)
    browser.click("nav.below a", "Previous")
    browser.wait_true(f"JSON.stringify({CHOICES}) === {json.dumps(json.dumps(first, separators=(',', ':')))}")


def test_keys_go_to_the_search_and_through_the_list(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs"))
    browser.press("/")
    assert browser.evaluate("document.activeElement.name") == "search"
    browser.type("wild-3b")
    browser.press("Enter")
    browser.wait_true("location.search.includes('search=wild-3b') && document.readyState === 'complete'")
    models = browser.evaluate("[...document.querySelectorAll('td.model')].map(each => each.title)")
    assert set(models) == {"made/wild-3b"}
    browser.press("j")
    browser.press("j")
    assert browser.evaluate(f"document.activeElement.getAttribute('href') === {LINKS}[1]")
    browser.press("k")
    assert browser.evaluate(f"document.activeElement.getAttribute('href') === {LINKS}[0]")


def test_the_form_says_what_the_list_shows(served: Dashboard, browser: Page) -> None:
    """Also behind the Back button, and with a number that no step of the field leads to."""
    level, total = (
        "document.querySelector('select[name=level]').value",
        "document.querySelector('[role=status]').innerText",
    )
    browser.load(served.url("/runs?risk_above=0.0755&tokens_above=-1"))
    everything = browser.evaluate(total)
    browser.evaluate("document.querySelector('select[name=level]').value = 'high'")
    browser.click("form.filters button", "Filter")
    browser.wait_true(f"location.search.includes('level=high') && {level} === 'high'")
    assert browser.evaluate(total) != everything
    browser.evaluate("history.back()")
    browser.wait_true(f"!location.search.includes('level') && {total} === {json.dumps(everything)}")
    assert browser.evaluate(level) == ""


def test_the_button_of_the_form_takes_a_label_away(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs?model=made/steady-1b&limit=1"))
    browser.evaluate("document.querySelector('.label-form').open = true")
    browser.evaluate("document.querySelector('.label-form input[name=outcome]').focus()")
    browser.type("soon_gone")
    browser.press("Enter")
    browser.wait_for("soon_gone")
    browser.evaluate("document.querySelector('.label-form').open = true")
    browser.click(".label-form button", "Remove")
    browser.wait_true("location.pathname === '/runs' && !document.querySelector('.label-cell .chip')")


def test_what_is_shown_is_exported_whole(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs?level=high"))
    total = int(browser.evaluate("document.querySelector('[role=status]').innerText.match(/[0-9]+/)[0]"))
    links = "[...document.querySelectorAll('.exports a')].map(each => [each.innerText, each.getAttribute('href')])"
    exports = dict(browser.evaluate(links))
    assert {"CSV", "JSON", "Parquet"} <= set(exports)
    rows = list(csv.DictReader(served.get(exports["CSV"]).decode().splitlines()))
    assert len(rows) == total
    assert {row["risk_level"] for row in rows} == {"high"}
    assert served.get(exports["Parquet"])[:4] == b"PAR1"


def test_a_run_is_labelled_from_the_list(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs?model=made/wild-3b&sort=risk"))
    browser.evaluate("document.querySelector('.label-form').open = true")
    browser.evaluate("document.querySelector('.label-form input[name=outcome]').focus()")
    browser.type("worth_a_look")
    browser.press("Enter")
    browser.wait_for("worth_a_look")
    browser.load(served.url("/runs?label=worth_a_look"))
    assert browser.evaluate(ROWS) == 1


def test_runs_are_chosen_and_compared(served: Dashboard, browser: Page) -> None:
    browser.load(served.url("/runs?model=made/wild-3b"))
    assert browser.evaluate("document.querySelector('#compare button').disabled")
    browser.press("j")
    browser.press("x")
    browser.press("j")
    browser.press("x")
    browser.click("#compare button", "Compare 2 chosen runs")
    browser.wait_true("location.pathname === '/compare' && document.querySelector('h1')")
    assert browser.evaluate("new URLSearchParams(location.search).getAll('run').length") == 2
    browser.wait_true("document.querySelector('.chart canvas')")
