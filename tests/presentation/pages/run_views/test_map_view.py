"""The heat maps of a run's page: what their bytes stand for."""

import base64
from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital.presentation.pages.run_views.map_view import layer_table, maps_view
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownRun
from opentelemetry_instrumentation_corevital.run import Run
from tests.support.made_runs import add_layers, make_run

BELOW, ABOVE, BAD, MISSING = 251, 252, 254, 255


def map_of(run: Run, name: str) -> dict[str, Any]:
    (found,) = (each for each in maps_view(ShownRun(run))["maps"] if each["name"] == name)
    return dict(found)


def cells(found: dict[str, Any]) -> Any:
    codes = np.frombuffer(base64.b64decode(found["cells"]), np.uint8)
    return codes.reshape(found["layers"], -1)


def values(found: dict[str, Any]) -> Any:
    """Return the numbers that the page's script reads from a map."""
    codes = cells(found).astype(np.float64)
    read = found["low"] + codes / 250 * (found["high"] - found["low"])
    for place, value in found["beyond"].items():
        read.flat[place] = value
    read[(cells(found) >= BAD)] = np.nan
    return read


def test_the_bytes_are_the_numbers_to_a_250th_of_the_scale() -> None:
    run = add_layers(make_run(300), 6)
    found = map_of(run, "attention_entropy")
    wanted = run.columns["attention_entropy"].T
    error = np.abs(values(found) - wanted)
    assert error.max() <= (found["high"] - found["low"]) / 250
    assert 0 < len(found["beyond"]) < wanted.size / 50


def test_an_outlier_keeps_its_value_and_leaves_the_scale_to_the_others() -> None:
    run = add_layers(make_run(300), 6)
    run.columns["attention_entropy"][123, 4] = 1e6
    found = map_of(run, "attention_entropy")
    assert found["high"] < 1
    assert cells(found)[4, 123] == ABOVE
    assert values(found)[4, 123] == 1e6
    assert layer_table(found)["rows"][4][4:6] == ["1\u202f000\u202f000", 123]


def test_faults_and_gaps_have_bytes_of_their_own() -> None:
    run = add_layers(make_run(20), 3)
    run.columns["hidden_nan"][7, 2] = 1
    run.columns["hidden_l2_norm"][7, 2] = np.nan
    run.columns["attention_entropy"][5, 1] = np.nan
    assert cells(map_of(run, "hidden_l2_norm"))[2, 7] == BAD
    assert layer_table(map_of(run, "hidden_l2_norm"))["rows"][2][6] == 1
    assert cells(map_of(run, "attention_entropy"))[1, 5] == MISSING


def test_a_signal_that_is_sampled_names_its_steps() -> None:
    found = map_of(add_layers(make_run(20), 3, every=8), "attention_entropy")
    assert found["steps"] == [0, 8, 16]
    assert cells(found).shape == (3, 3)
    assert map_of(add_layers(make_run(20), 3), "attention_entropy")["steps"] is None


def test_a_long_run_has_fewer_columns_which_keep_what_stands_out() -> None:
    run = add_layers(make_run(9000), 4)
    run.columns["attention_entropy"][:] = 0.5
    run.columns["attention_entropy"][7777, 3] = 0.0
    found = map_of(run, "attention_entropy")
    columns = cells(found).shape[1]
    assert columns == 2048
    column = int(np.searchsorted(found["steps"], 7777, side="right")) - 1
    assert values(found)[3, column] == 0.0
    assert found["last"] == 8999


def test_a_layer_without_any_value_has_dashes_in_the_table() -> None:
    run = add_layers(make_run(20), 3)
    run.columns["attention_entropy"][:, 1] = np.nan
    assert layer_table(map_of(run, "attention_entropy"))["rows"][1][1:6] == ["\u2013"] * 5


def test_a_run_without_layers_has_no_map() -> None:
    assert maps_view(ShownRun(make_run(5)))["maps"] == []
