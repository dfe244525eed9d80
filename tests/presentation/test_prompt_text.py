"""What a run tells of its prompt, in words and as JSON."""

import json
import math

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.catalogue import prompt_span_names as names
from opentelemetry_instrumentation_corevital.presentation.panel import verdict_lines
from opentelemetry_instrumentation_corevital.presentation.prompt_text import (
    absences,
    attended_tokens,
    first_note,
    layer_figures,
    prompt_json,
    prompt_lines,
    surprising_tokens,
)
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownRun
from opentelemetry_instrumentation_corevital.run import PromptAnalysis
from tests.support.made_runs import add_prompt, make_run


def analysis() -> PromptAnalysis:
    found = add_prompt(make_run(3)).prompt_analysis
    assert found is not None
    return found


def test_the_panel_has_a_line_of_a_run_and_none_without_an_analysis() -> None:
    run = add_prompt(make_run(3))
    lines = dict(verdict_lines(ShownRun(run).attributes))
    assert "surprisal mean 4.00, max 7.00 bit" in str(lines["prompt"])
    assert "basin score mean 0.80, below 0.5 in 1 of 2 layers" in str(lines["prompt"])
    assert "prompt" not in dict(verdict_lines(ShownRun(make_run(3)).attributes))


def test_a_layer_that_is_not_told_counts_nowhere() -> None:
    ((values, line),) = prompt_lines({names.BASIN_SCORE: [-1.0, 0.4, 0.6]})
    assert math.isnan(values[0])
    assert line == "basin score mean 0.50, below 0.5 in 1 of 2 layers"
    assert prompt_lines({}) == []


def test_the_most_surprising_tokens_have_their_surprisal_where_it_is_stored() -> None:
    assert surprising_tokens(analysis())[:2] == [(7, 7.0), (6, 6.0)]
    without = PromptAnalysis(None, 4.0, 7.0, np.array([7, 6], np.int32))
    assert surprising_tokens(without) == [(7, None), (6, None)]
    later = PromptAnalysis.of(np.array([1.0, 5.0], np.float32), first=10)
    assert surprising_tokens(later) == [(12, 5.0), (11, 1.0)]
    assert first_note(later) == "Of the new part only, from token 10 on: a cache had the tokens before it."
    assert first_note(analysis()) is None


def test_each_layer_has_its_lowest_head() -> None:
    first, second = layer_figures(analysis())
    assert first == {"layer": 0, "transformation": None, "basin": 0.25, "lowest_head": 1, "lowest": pytest.approx(0.1)}
    assert (second["transformation"], second["lowest_head"]) == (0.125, 0)
    mean_alone = PromptAnalysis(basin=np.array([[0.5], [np.nan]], np.float32))
    assert [(row["basin"], row["lowest_head"]) for row in layer_figures(mean_alone)] == [(0.5, None), (None, None)]


def test_tokens_are_in_the_order_of_the_heads_that_attend_to_them() -> None:
    first, *others = attended_tokens(analysis())
    assert (first.token, first.heads, first.weight) == (0, 4, pytest.approx(0.5))
    assert [(each.token, each.heads) for each in others] == [(3, 3), (5, 1)]
    assert attended_tokens(PromptAnalysis()) == []


def test_json_has_what_is_stored_and_null_for_what_is_no_number() -> None:
    told = json.loads(json.dumps(prompt_json(analysis()), allow_nan=False))["prompt_analysis"]
    assert told["layer_transformation"] == [None, 0.125]
    assert told["connections"]["index"][1][1] == [0, -1, -1, -1, -1, -1, -1, -1]
    assert told["connections"]["weight"][1][1][1] is None
    assert (told["first"], told["absent"]) == (0, {})
    assert prompt_json(None) == {}
    bare = prompt_json(PromptAnalysis(absent={"prompt_basin": "the prompt is too short"}))["prompt_analysis"]
    assert bare == {"first": 0, "absent": {"prompt_basin": "the prompt is too short"}}


def test_absences_are_in_words() -> None:
    assert absences(PromptAnalysis(absent={"prompt_basin": "why"})) == [("the basin scores", "why")]
