"""The prompt analysis on a run's page."""

import numpy as np

from opentelemetry_instrumentation_corevital.presentation.pages.run_views.prompt_view import SHADES, prompt_view
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownRun
from opentelemetry_instrumentation_corevital.run import PromptAnalysis, PromptConnections
from tests.support.made_runs import add_prompt, make_run


def view(found: PromptAnalysis | None) -> dict[str, object] | None:
    run = make_run(3)
    run.prompt_analysis = found
    return prompt_view(ShownRun(run))


def test_a_run_whose_prompt_was_not_analysed_has_none() -> None:
    assert view(None) is None


def test_each_head_is_one_square_of_the_shade_of_its_score() -> None:
    shown = prompt_view(ShownRun(add_prompt(make_run(3))))
    assert shown is not None
    drawn = shown["map"]
    assert (drawn["layers"], drawn["heads"], len(drawn["paths"])) == (2, 2, SHADES)
    assert drawn["paths"] == ["M1 0h1v1h-1z", "", "M0 0h1v1h-1z", "M0 1h1v1h-1z", "", "", "M1 1h1v1h-1z", "", ""]
    assert (shown["neglected"], shown["layers_known"]) == ([0], 2)


def test_a_head_without_a_score_has_no_square_and_a_mean_alone_no_map() -> None:
    some = view(PromptAnalysis(basin=np.array([[np.nan, 1.0]], np.float32)))
    assert some is not None
    assert some["map"] == {"layers": 1, "heads": 2, "paths": ["", "", "", "", "M1 0h1v1h-1z", "", "", "", ""]}
    mean = view(PromptAnalysis(basin=np.array([[0.3], [0.9]], np.float32)))
    assert mean is not None
    assert (mean["map"], mean["neglected"]) == (None, [0])


def test_so_many_heads_that_a_page_would_be_megabytes_are_in_its_table_alone() -> None:
    index = np.zeros((200, 200, 8), np.int32)
    kept = PromptConnections(index, np.ones(index.shape, np.float32))
    shown = view(PromptAnalysis(basin=np.ones((200, 200), np.float32), connections=kept))
    assert shown is not None
    assert (shown["map"], shown["connections"]) == (None, None)
    layers = shown["layers"]
    assert isinstance(layers, dict)
    assert len(layers["rows"]) == 200
