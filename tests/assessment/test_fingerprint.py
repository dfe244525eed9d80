"""The fingerprint's vector: each component on runs made by hand, and what must not change it."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.assessment.behaviour import (
    COMPONENTS,
    FEWEST_STEPS,
    OUTSIDE,
    VERSION,
    vector,
)
from opentelemetry_instrumentation_corevital.assessment.fingerprint import judge_fingerprint
from opentelemetry_instrumentation_corevital.run import Fingerprint, Prompt, Run
from tests.support.made_runs import NOT_REPEATING, add_layers, make_run

NAMES = [component.name for component in COMPONENTS]
OUTSIDE_COUNT = sum(not component.internals for component in COMPONENTS)
NEW = NOT_REPEATING.tolist()


def of(run: Run) -> dict[str, float]:
    found = vector(run)
    assert not isinstance(found, str), found
    numbers, version = found
    assert version == (VERSION if len(numbers) == len(COMPONENTS) else OUTSIDE)
    return dict(zip(NAMES, numbers.tolist(), strict=False))


def layered(**layers: Any) -> Run:
    """Return a run of 40 steps and 9 layers with the same numbers at every step: one, or one for each layer."""
    run = add_layers(make_run(), 9)
    usual = {"layer_transformation": [math.nan] + [0.1] * 8, "attention_entropy": 0.5, "hidden_l2_norm": 10.0}
    for name, value in (usual | {"attention_mass_sink": 0.25} | layers).items():
        run.columns[name] = np.broadcast_to(np.asarray(value, np.float32), (40, 9)).copy()
    return run


def test_the_layout_is_that_of_its_version() -> None:
    """Whoever changes this changes what the numbers mean: VERSION has to be another one then."""
    assert (VERSION, OUTSIDE) == ("1", "1-outside")
    assert [component.internals for component in COMPONENTS] == [False] * 15 + [True] * 9
    assert [
        *("entropy_low", "entropy_median", "entropy_high", "entropy_drift", "entropy_persistence"),
        *("surprisal_median", "surprisal_high", "margin_low", "margin_median", "margin_high", "topk_mass"),
        *("first_choice", "repeated_grams", "late_repeated_grams", "recent_tokens"),
        *("hidden_cosine", "norm_growth", "turn_early", "turn_middle", "turn_late"),
        *("attention_early", "attention_middle", "attention_late", "attention_sink"),
    ] == NAMES


# 11 steps: the 10 % quantile is the second smallest number, the 90 % quantile the second largest.
RISING = [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 14, 90]


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("entropy_low", {"entropy": RISING}, 1 / 3),
        ("entropy_median", {"entropy": RISING}, 5 / 7),
        ("entropy_high", {"entropy": RISING}, 14 / 16),
        ("entropy_drift", {"entropy": [1.0] * 5 + [9.0] + [3.0] * 5}, 0.5 + 0.5 * 2 / 4),
        ("entropy_drift", {"entropy": [3.0] * 5 + [9.0] + [1.0] * 5}, 0.25),
        ("entropy_drift", {"entropy": 2.0}, 0.5),
        ("entropy_persistence", {"entropy": np.arange(11)}, 1.0),
        ("entropy_persistence", {"entropy": [1.0, 2.0] * 5 + [1.0]}, 0.0),
        ("entropy_persistence", {"entropy": 2.0}, 0.5),
        ("surprisal_median", {"surprisal": RISING}, 5 / 7),
        ("surprisal_high", {"surprisal": RISING}, 14 / 16),
        ("margin_low", {"margin": np.arange(11) / 10}, 0.1),
        ("margin_median", {"margin": np.arange(11) / 10}, 0.5),
        ("margin_high", {"margin": np.arange(11) / 10}, 0.9),
        ("topk_mass", {"topk_mass": [0.4] * 5 + [1.0] * 6}, 8 / 11),
        ("first_choice", {"top1_prob": 0.25, "surprisal": [2.0] * 4 + [2.1] * 7}, 4 / 11),
        ("first_choice", {"top1_prob": 0.25, "surprisal": 2.014}, 1.0),
        ("first_choice", {"top1_prob": 0.25, "surprisal": 2.015}, 0.0),
    ],
)
def test_components_of_the_logits(name: str, columns: dict[str, Any], expected: float) -> None:
    assert of(make_run(11, **columns))[name] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "tokens", "expected"),
    [
        ("repeated_grams", NEW[:40], 0.0),
        ("repeated_grams", [*NEW[:10], *NEW[:10]], 7 / 17),
        ("repeated_grams", [7] * 20, 16 / 17),
        # 67 groups, of which the first 3 are not among the last 64.
        ("late_repeated_grams", [*NEW[:60], *NEW[:10]], 7 / 64),
        ("late_repeated_grams", [*[7] * 6, *NEW[:64]], 0.0),
        ("recent_tokens", [*NEW[:32], *NEW[:32]], 0.5),
        ("recent_tokens", [*NEW[:33], *NEW[:33]], 0.0),
        ("recent_tokens", [1, 2] * 10, 0.9),
    ],
)
def test_components_of_the_tokens(name: str, tokens: list[int], expected: float) -> None:
    assert of(make_run(len(tokens), tokens=tokens))[name] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "layers", "expected"),
    [
        ("norm_growth", {"hidden_l2_norm": [10.0] * 8 + [160.0]}, 0.5),
        ("norm_growth", {"hidden_l2_norm": [160.0] * 8 + [10.0]}, 0.0),
        ("turn_early", {"layer_transformation": [math.nan, 0.1, 0.3, 0.2, *[9.0] * 5]}, 0.2 / 0.3),
        ("turn_middle", {"layer_transformation": [math.nan, *[9.0] * 3, 0.1, 0.1, 0.1, 9.0, 9.0]}, 0.5),
        ("turn_late", {"layer_transformation": [math.nan, *[9.0] * 6, 0.2, 0.4]}, 0.75),
        ("attention_early", {"attention_entropy": [0.1, 0.2, 0.3, *[0.9] * 6]}, 0.2),
        ("attention_middle", {"attention_entropy": [*[0.9] * 3, 0.1, 0.2, 0.3, *[0.9] * 3]}, 0.2),
        ("attention_late", {"attention_entropy": [*[0.9] * 6, 0.1, 0.2, 0.3]}, 0.2),
        ("attention_sink", {"attention_mass_sink": [0.9] * 3 + [0.3] * 6}, 0.5),
    ],
)
def test_components_of_the_layers(name: str, layers: dict[str, Any], expected: float) -> None:
    assert of(layered(**layers))[name] == pytest.approx(expected, abs=1e-6)


def test_the_hidden_states_cosine_is_a_median_without_the_first_step() -> None:
    run = layered()
    run.columns["hidden_cosine"] = np.array([math.nan, *[0.2] * 19, 0.4, *[0.6] * 19], np.float32)
    assert of(run)["hidden_cosine"] == pytest.approx(0.7)


def test_steps_without_a_distribution_and_layers_that_were_not_looked_at_do_not_count() -> None:
    run, other = layered(), layered()
    for name in ("entropy", "surprisal", "margin", "top1_prob", "topk_mass"):
        run.columns[name][5] = math.nan
    for name in ("layer_transformation", "attention_entropy", "attention_mass_sink"):
        run.columns[name][np.arange(40) % 8 != 0] = math.nan
    run.columns["hidden_l2_norm"][3, 0] = math.inf
    assert of(run) == pytest.approx(of(other))


@pytest.mark.parametrize("gone", ["hidden_cosine", "hidden_l2_norm", "attention_entropy"])
def test_without_the_layers_the_vector_is_the_first_part_of_the_same(gone: str) -> None:
    run, whole = layered(), of(layered())
    del run.columns[gone]
    assert of(run) == {name: whole[name] for name in NAMES[:OUTSIDE_COUNT]}
    run = layered()
    run.columns[gone][:] = math.nan
    assert len(of(run)) == OUTSIDE_COUNT


def test_a_run_that_says_too_little_has_none() -> None:
    assert len(of(make_run(FEWEST_STEPS))) == OUTSIDE_COUNT
    few = judge_fingerprint(make_run(FEWEST_STEPS - 1))
    assert (few.vector, few.version) == (None, None)
    assert few.absent["fingerprint"] == "a fingerprint needs 8 steps with a distribution, the run has 7"
    assert "contrastive_search" in judge_fingerprint(make_run(logits=False)).absent["fingerprint"]


def test_without_a_hash_there_is_a_vector_all_the_same() -> None:
    run = make_run()
    run.prompt = Prompt("a prompt", "text")
    hidden = judge_fingerprint(run, hashed=False)
    assert (hidden.prompt_hash, hidden.run_hash) == (None, None)
    assert "prompt_hash=off" in hidden.absent["prompt_hash"]
    assert hidden.vector == judge_fingerprint(run).vector


def test_only_which_tokens_are_equal_counts() -> None:
    tokens = np.random.default_rng(0).integers(0, 5, 60)
    renamed = np.array([70_000, 3, 49_000, 9, 120_000])[tokens]
    assert of(make_run(60, tokens=tokens)) == of(make_run(60, tokens=renamed))


numbers = st.floats(0, 100, width=32) | st.just(math.nan) | st.just(math.inf)


@given(st.integers(8, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_was_measured_the_numbers_lie_between_0_and_1(steps: int, data: st.DataObject) -> None:
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    run = add_layers(make_run(steps, tokens=draw.integers(0, 9, steps)), 6, seed=steps)
    for name in ("entropy", "surprisal", "hidden_l2_norm", "layer_transformation"):
        column = run.columns[name]
        column[draw.random(column.shape) < 0.3] = data.draw(numbers)
    found = judge_fingerprint(run)
    if found.vector is not None:
        assert len(found.vector) in (OUTSIDE_COUNT, len(COMPONENTS))
        assert all(0 <= value <= 1 for value in found.vector)


def test_the_distance_is_over_what_both_have() -> None:
    mine = Fingerprint(vector=(0.0, 0.5, 1.0), version="1")
    assert mine.distance(Fingerprint(vector=(0.3, 0.1), version="1-outside")) == pytest.approx(math.sqrt(0.125))
    assert mine.distance(mine) == 0
    with pytest.raises(ValueError, match="without a vector"):
        mine.distance(Fingerprint())
    with pytest.raises(ValueError, match="version 1 and 2"):
        mine.distance(Fingerprint(vector=(0.0,), version="2"))
