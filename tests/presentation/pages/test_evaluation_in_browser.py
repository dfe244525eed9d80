"""The page of an evaluation in Chromium: pictures in the light and in the dark, tables without scripts."""

from collections.abc import Iterator

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.evaluation.evaluate import evaluate
from opentelemetry_instrumentation_corevital.evaluation.labelled_answers import ANSWER, BASELINES, RISK, Answers
from opentelemetry_instrumentation_corevital.presentation.pages.evaluation_file import evaluation_file
from tests.support.accessibility import violations
from tests.support.browser import CHROMIUM, Page, page

pytestmark = [pytest.mark.acceptance, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

DRAWN = "document.querySelectorAll('.chart canvas').length === 4"


def group(model: str, task: str, seed: int) -> Answers:
    rng = np.random.default_rng(seed)
    risk = rng.random(90)
    scores = {ANSWER: risk, RISK: rng.random(90), **{name: risk + rng.random(90) for name in BASELINES}}
    prompts = tuple(f"{task} {run}" for run in range(90))
    half = {name: values for name, values in scores.items() if name != RISK}
    return Answers(model, task, rng.random(90) < risk, prompts, rng.integers(1, 9, 90), scores, half)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    groups = [group(model, task, place) for place, model in enumerate(("org/a", "org/b")) for task in ("one", "two")]
    file = tmp_path_factory.mktemp("evaluation") / "evaluation.html"
    file.write_text(evaluation_file(evaluate(groups, draws=50), "360 labelled runs.", source="made.db"), "utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_and_can_be_used_by_everybody(browser: Page, address: str, scheme: str) -> None:
    browser.prefer(scheme, reduced_motion=True)
    for width in (1280, 390):
        browser.resize(width)
        browser.load(address)
        browser.wait_true(DRAWN)
        assert violations(browser) == []
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    assert browser.troubles() == []
    assert [each for each in browser.asked if not each.startswith(("file:", "data:"))] == []


def test_the_diagram_has_a_mark_for_every_bin_and_each_picture_its_table(browser: Page, address: str) -> None:
    browser.resize(1280)
    browser.load(address)
    browser.wait_true(DRAWN)
    rows = "document.querySelector('.chart-box').querySelectorAll('tbody tr').length"
    points = "JSON.parse(document.getElementById('reliability-0').textContent).series[0].points.length"
    assert browser.evaluate(rows) == browser.evaluate(points) == 10
    assert browser.evaluate("[...document.querySelectorAll('.chart-box')].every(each => each.querySelector('table'))")
