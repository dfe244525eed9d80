"""The declarations of signals: that they are right, and that a wrong one is found before it is used."""

import math
import re
import sys
from dataclasses import replace
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import run, semconv
from opentelemetry_instrumentation_corevital.baselines import profiled_signals as profile
from opentelemetry_instrumentation_corevital.catalogue import absence, definitions, signals
from opentelemetry_instrumentation_corevital.catalogue.signal import HeatMap, LayerArray, StepField, Summary, Timeline
from opentelemetry_instrumentation_corevital.catalogue.signal_checks import check
from tests.support.subprocesses import run as run_program

ENTROPY, NORM = signals.signal("entropy"), signals.signal("hidden_l2_norm")


def test_the_declarations_are_right() -> None:
    check()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"name": "surprisal"}, "signal surprisal stands twice"),
        ({"family": "nowhere"}, "unknown family nowhere"),
        ({"stored": "float64"}, "unknown dtype"),
        ({"shape": "token"}, "unknown shape"),
        ({"entry": None}, "needs an entry"),
        ({"lowest": 1.0, "highest": 0.0}, "its range is empty"),
        ({"layer_array": LayerArray(meaning="x")}, "cannot have layer_array"),
        ({"buckets": ()}, "a histogram needs buckets"),
        ({"word": "margin"}, "attribute corevital.margin.mean stands twice"),
        ({"profile": 20}, "place in a profile ('step', 20) stands twice"),
        ({"dropped": 10}, "dropped 10 stands twice"),
        ({"summaries": ()}, "figures that are no summaries"),
        ({"name": "Two words"}, "one word in lower case"),
        ({"word": "two.words"}, "one word in lower case"),
        ({"name": "tokens"}, "something else in a run or its data has this name"),
        ({"name": "hidden_states"}, "something else in a run or its data has this name"),
        ({"number": "surprisal"}, "number of a family ('logits', 'surprisal') stands twice"),
        ({"definition": ""}, "needs a definition"),
        ({"lowest": math.nan}, "its range is empty"),
        ({"migrated_highest": -1.0}, "its range is empty"),
        ({"buckets": (1.0, 1.0)}, "do not rise"),
        ({"step": StepField(meaning="")}, "has no meaning"),
        ({"step": StepField(meaning="x", telling="last")}, "no step is told for its last"),  # type: ignore[arg-type]
        ({"timeline": Timeline(rank=1, title="x", colours="x")}, "coloured by its x end"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_signal_of_the_step_is_found(changed: dict[str, Any], complaint: str) -> None:
    wrong = replace(ENTROPY, **changed)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        check(signals=[wrong if each is ENTROPY else each for each in signals.SIGNALS])


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"summaries": (Summary(statistic="mean", meaning="x"),)}, "cannot have summaries"),
        ({"series": "x"}, "cannot have series"),
        ({"dropped": None}, "needs a place in the order"),
        ({"heat_map": HeatMap(rank=20, title="x")}, "rank of a heat map 20 stands twice"),
        ({"layer_array": LayerArray(meaning="x", statistic="slope")}, "cannot be a slope"),
        ({"shape": "head"}, "families of their own"),
    ],
)
def test_a_wrong_signal_of_layers_is_found(changed: dict[str, Any], complaint: str) -> None:
    wrong = replace(NORM, **changed)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        check(signals=[wrong if each is NORM else each for each in signals.SIGNALS])


@pytest.mark.parametrize(
    ("name", "changed", "complaint"),
    [
        ("hidden", {"group": "weather"}, "measured.py does not know the group weather"),
        ("hidden", {"group": ""}, "needs a group"),
        ("hidden", {"index": ""}, "an index if and only if"),
        ("hidden", {"name": "covered"}, "family covered: it has no signal"),
        ("hidden", {"name": "Hidden states"}, "not one word in lower case"),
        ("hidden", {"name": "attention"}, "family attention stands twice"),
        ("cross", {"every_step": True}, "families of every step come before"),
        ("logits", {"in_row": False}, "the row begins with the family `logits`"),
    ],
)
def test_a_wrong_family_is_found(name: str, changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        check(families=[replace(each, **changed) if each.name == name else each for each in signals.FAMILIES])


def test_a_released_run_keeps_its_columns_and_their_order() -> None:
    """What `run.py` and profiles have always been: a declaration in another place would change files."""
    assert (
        *("entropy", "surprisal", "margin", "top1_prob", "topk_mass"),
        *("logits_nan", "logits_posinf", "logits_neginf"),
    ) == run.COLUMNS
    assert run.COLUMNS[5:] == run.NONFINITE_COUNTS
    assert run.HIDDEN_SIGNALS[2:5] == ("hidden_l2_norm", "hidden_max_abs", "hidden_nan")
    assert run.SELF_SIGNALS.index("attention_previous") == 12
    assert tuple(f"cross_{name}" for name in run.SELF_SIGNALS[:6]) == run.CROSS_SIGNALS
    assert profile.STEP_SIGNALS[-2:] == ("prompt_focus", "collapsed_share")
    assert (
        *("log2_norm", "log2_gain", "layer_transformation", "attention_entropy", "attention_entropy_change"),
        *("attention_entropy_std", "attention_max_weight", "attention_mass_sink", "collapsed_head_rate"),
    ) == profile.LAYER_SIGNALS
    assert signals.leave_out()[:2] == ("attention_previous_heads", "attention_entropy_std")
    assert signals.leave_out()[-3:] == ("hidden_l2_norm", "hidden_nan", "hidden_inf")


def test_constants_of_the_vocabulary_keep_their_values() -> None:
    assert semconv.ENTROPY_SLOPE == "corevital.entropy.slope"
    assert semconv.SERIES_HIDDEN_COSINE == "corevital.series.hidden_cosine"
    assert semconv.LAYERS_MAX_ABS == "corevital.layers.max_abs"
    assert semconv.LAYERS_ATTENTION_INDEX == "corevital.layers.attention_index"
    assert semconv.STEP_TOPK_MASS == "corevital.step.topk_mass"
    assert semconv.METRIC_LAYER_L2_NORM == "corevital.layer.l2_norm"
    assert semconv.METRIC_STEP_ENTROPY == "corevital.step.entropy"


def test_a_name_of_telemetry_is_declared_once() -> None:
    with pytest.raises(ValueError, match=r"attribute corevital\.steps\.total is declared twice"):
        definitions.attribute("corevital.steps.total", "int", "", "x")


def test_a_value_is_judged_by_its_range_as_far_as_rounding_goes() -> None:
    margin = signals.signal("margin")
    assert margin.allows(0.0, 1.0005)
    assert not margin.allows(-0.1, 0.5)
    assert not margin.allows(0.0, 1e308)
    assert signals.signal("hidden_mean").allows(-1e38, 1e38)


def test_what_may_be_absent_is_a_closed_list() -> None:
    assert absence.unknown({"entropy": "not measured in decoding strategy contrastive"}, frozenset()) == {}
    assert absence.unknown({"corevital.x": "compiled"}, frozenset({"corevital.x"})) == {}
    for name, reason in (("weather", "compiled"), ("corevital.x", "compiled"), ("entropy", "I do not feel like it")):
        assert absence.unknown({name: reason}, frozenset()) == {name: reason}


def test_the_catalogue_needs_nothing() -> None:
    program = """
import sys
from opentelemetry_instrumentation_corevital.catalogue import absence, signal_checks, signals
signal_checks.check()
needed = {"torch", "numpy", "opentelemetry", "pydantic"} & set(sys.modules)
assert not needed, needed
"""
    run_program([sys.executable, "-c", program])
