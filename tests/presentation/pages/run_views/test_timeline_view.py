"""The timelines of a run's page: bands of a loop's copies, marks, and a table that has the extremes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.presentation.pages.run_views.timeline_view import (
    MOST_POINTS,
    copies,
    step_table,
    timelines_view,
)
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownRun
from opentelemetry_instrumentation_corevital.presentation.timeline import Line, lines
from tests.support.made_runs import ROLLED_BACK, STOPPED, intervened, make_run
from tests.support.stored_runs import stored_with

LOOP = {"period": 4, "copies": 2.5, "start_step": 8, "onset_step": 12, "exact": True}


def looping(folder: Path, **changes: Any) -> Any:
    return stored_with(folder, **{semconv.HEALTH_EVIDENCE: json.dumps({"repetition_loop_detected": LOOP | changes})})


def test_the_copies_of_a_loop_are_bands_one_behind_the_other(tmp_path: Path) -> None:
    found = copies(looping(tmp_path), 40)
    assert [(each["from"], each["to"]) for each in found] == [(8, 12), (12, 16), (16, 18)]
    assert [each["second"] for each in found] == [False, True, False]


@pytest.mark.parametrize("changes", [{"exact": False}, {"copies": 500}])
def test_copies_that_cannot_be_told_apart_are_one_band(tmp_path: Path, changes: dict[str, Any]) -> None:
    (found,) = copies(looping(tmp_path, **changes), 40)
    assert (found["from"], found["to"]) == (8, 18 if "exact" in changes else 40)


@pytest.mark.parametrize(
    "changes", [{"period": 0}, {"period": "x"}, {"copies": None}, {"start_step": -1}, {"start_step": 10**30}]
)
def test_evidence_that_makes_no_sense_is_no_band(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert copies(looping(tmp_path, **changes), 40) == []


def test_a_rollback_is_a_band_from_where_it_went_back_to_and_a_stop_is_one_step() -> None:
    run = ShownRun(intervened(ROLLED_BACK, STOPPED))
    view = timelines_view(run, lines(run), 40)
    assert [(each["from"], each["to"], each["name"]) for each in view["bands"]] == [
        (12, 20, "roll back"),
        (30, 31, "stop"),
    ]
    assert [(each["step"], each["kind"]) for each in view["marks"]] == [(20, "intervention"), (30, "intervention")]


def test_a_long_line_keeps_its_extremes_and_a_gap_is_none() -> None:
    values = np.random.default_rng(1).normal(size=30_000)
    values[777], values[20_001], values[5] = 50.0, -50.0, np.nan
    run = make_run(30_000, entropy=values)
    view = timelines_view(ShownRun(run), lines(ShownRun(run)), 30_000)
    entropy = next(each for each in view["lines"] if each["signal"] == "entropy")
    assert len(entropy["values"]) <= MOST_POINTS
    assert max(filter(None, entropy["values"])) == 50.0
    assert min(filter(None, entropy["values"])) == -50.0
    assert entropy["steps"][entropy["values"].index(50.0)] == 777
    short = timelines_view(ShownRun(make_run(5, entropy=[1, np.nan, np.inf, 2, 3])), lines(ShownRun(run)), 5)
    assert None not in short["lines"][0]["values"]


def test_what_is_not_finite_is_none_since_json_has_no_word_for_it() -> None:
    run = ShownRun(make_run(5, entropy=[1, np.nan, np.inf, 2, 3]))
    (entropy,) = (each for each in timelines_view(run, lines(run), 5)["lines"] if each["signal"] == "entropy")
    assert entropy["values"] == [1.0, None, None, 2.0, 3.0]
    assert entropy["steps"] is None


def test_the_table_of_many_steps_has_the_extremes_and_says_how_many_it_leaves_out() -> None:
    values = [1.0] * 5000
    values[4321], values[17] = 9.0, 0.5
    table = step_table([Line("entropy", "entropy", "bit", range(5000), values)])
    rows = {row[0]: row[1] for row in table["rows"]}
    assert rows[4321] == "9.000"
    assert rows[17] == "0.500"
    assert len(rows) < 140
    assert table["left_out"] == 5000 - len(rows)
    assert table["head"] == ["step", "entropy, bit"]
