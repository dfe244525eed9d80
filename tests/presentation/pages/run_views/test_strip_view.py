"""The tokens of a run's page: their text, their shades, and what is marked."""

from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital.presentation.alternative_tokens import Pieces
from opentelemetry_instrumentation_corevital.presentation.pages.run_views.strip_view import MOST_TOKENS, strip_view
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownRun
from opentelemetry_instrumentation_corevital.presentation.timeline import lines
from opentelemetry_instrumentation_corevital.run import Alternatives
from tests.support.made_runs import add_alternatives, make_run

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


class Letters:
    def decode(self, tokens: list[int]) -> str:
        if any(token > 200_003 for token in tokens):
            raise IndexError
        return "".join("\ufffd" if token == 200_003 else f"<{token}>" for token in tokens)


def test_each_token_has_what_it_could_have_been() -> None:
    run = ShownRun(add_alternatives(make_run(3)))
    view = strip_view(run, Pieces(["a", "b", "c"], Letters()), lines(run), 3, PLAIN)["could"]
    texts = [[view["texts"][place] for place in step] for step in view["tokens"]]
    first = run.run.tokens.tolist()
    assert texts[1] == [f"<{first[1]}>", "<200001>", "<200002>", "[200003]", "[200004]"], "ids where there is no text"
    assert view["probabilities"][1] == [0.7, 0.1, 0.05, 0.03, 0.02]
    assert [view["texts"][place] for place in view["said"]] == [f"<{token}>" for token in first]
    assert strip(3)["could"] is None


def test_without_ids_only_probabilities_are_told() -> None:
    run = make_run(2, logits=False)
    run.alternatives = Alternatives(np.array([[0.5, 0.25, 0, 0, 0], [np.nan] * 5], np.float32), None)
    shown = ShownRun(run)
    view = strip_view(shown, None, [], 2, PLAIN)["could"]
    assert view["tokens"] == [[], []]
    assert view["probabilities"] == [[0.5, 0.25, 0.0, 0.0, 0.0], []], "nothing of a step without a distribution"
