"""The tokens of a run's page: their text, their shades, and what is marked."""

from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital.presentation.pages.run_views.strip_view import MOST_TOKENS, strip_view
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownRun
from opentelemetry_instrumentation_corevital.presentation.timeline import lines
from tests.support.made_runs import make_run

PLAIN: dict[str, Any] = {"bands": [], "marks": []}


def strip(steps: int, tokens: list[str] | None = None, timelines: Any = PLAIN, **columns: Any) -> dict[str, Any]:
    run = ShownRun(make_run(steps, **columns))
    return strip_view(run, tokens, lines(run), steps, timelines)


def shades(view: dict[str, Any], signal: str) -> str:
    (found,) = (each["shades"] for each in view["signals"] if each["signal"] == signal)
    return str(found)


def test_each_token_has_a_shade_for_each_signal() -> None:
    view = strip(4, entropy=[0, 1, 2, 4], margin=[0.0, 0.25, 0.5, 1.0])
    assert shades(view, "entropy")[0] == "0"
    assert shades(view, "entropy")[3] == "9"
    assert shades(view, "margin") == "9740", "a small margin is the strong end"
    assert view["signals"][0]["signal"] == "surprisal"


def test_what_was_not_measured_has_no_shade_and_what_is_not_finite_a_sign_of_its_own() -> None:
    assert shades(strip(4, entropy=[1, np.nan, np.inf, 1]), "entropy") == "9-x9"


def test_one_outlier_leaves_the_others_their_colours() -> None:
    values = np.linspace(0, 2, 500)
    values[250] = 60.0
    view = strip(500, entropy=values)
    assert shades(view, "entropy")[450] == "8"
    assert shades(view, "entropy")[250] == "9"
    (entropy,) = (each for each in view["signals"] if each["signal"] == "entropy")
    assert entropy["strong"].startswith("\u2265 ")


def test_without_text_a_token_is_its_step_and_a_line_end_can_be_seen() -> None:
    assert [text for text, _ in strip(3)["blocks"][0]["tokens"]] == ["0", "1", "2"]
    assert [text for text, _ in strip(3, ["a", "\n", ""])["blocks"][0]["tokens"]] == ["a", "\u21b5\n", "\u00b7"]


def test_copies_and_what_began_are_classes_behind_the_shade() -> None:
    timelines = {
        "bands": [
            {"from": 1, "to": 2, "kind": "copy", "second": False},
            {"from": 2, "to": 3, "kind": "copy", "second": True},
            {"from": 0, "to": 4, "kind": "intervention", "second": False},
        ],
        "marks": [{"step": 3}],
    }
    classes = [each.split()[1:] for _, each in strip(4, None, timelines)["blocks"][0]["tokens"]]
    assert classes == [[], ["copy"], ["copy", "other"], ["begun"]]


def test_a_run_that_is_longer_than_a_browser_takes_says_what_is_left_out() -> None:
    view = strip(MOST_TOKENS + 5)
    assert sum(len(block["tokens"]) for block in view["blocks"]) == MOST_TOKENS
    assert view["beyond"] == 5
    assert [block["first"] for block in view["blocks"][:2]] == [0, 200]
