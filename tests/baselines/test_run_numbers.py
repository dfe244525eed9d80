"""The number of a run, and the limit that so many healthy runs stay below."""

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.baselines.learned import LearnedBaseline, identity_of
from opentelemetry_instrumentation_corevital.baselines.run_numbers import (
    ALPHA,
    FEWEST_RUNS,
    MOST_NUMBERS,
    NumberSample,
    Yardstick,
    limit_of,
    run_number,
)
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows, parts
from tests.support.healthy_runs import LAYERS, healthy

ROWS = TableRows(LAYERS)


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    taught = LearnedBaseline.empty(identity_of(healthy(0).model))
    for seed in range(60):
        found = list(parts(healthy(seed), ROWS))
        taught.anchor(found)
        taught.teach(found, 60)
    return taught.yardstick()


@pytest.mark.parametrize("layer", [0, 5, LAYERS - 1])
@pytest.mark.parametrize(("steps", "view"), [(slice(33, 49), "windows"), (slice(40, 41), "maxima")])
def test_the_number_names_layer_and_window(yardstick: Yardstick, layer: int, steps: slice, view: str) -> None:
    run = healthy(200)
    healthy_number = run_number(parts(run, ROWS), yardstick)
    assert healthy_number is not None
    run.columns["layer_transformation"][steps, layer] += 40 if layer else np.nan
    if not layer:  # it has none before it
        run.columns["hidden_l2_norm"][steps, 0] *= 64
    found = run_number(parts(run, ROWS), yardstick)
    assert found is not None
    assert found.value > 3 * healthy_number.value
    assert found.layer in (layer, layer + 1) if not layer else found.layer == layer
    assert found.step in (33, 41)
    assert found.windows == 7
    assert found.view in (view, "maxima")


def test_longer_healthy_runs_are_not_further_out(yardstick: Yardstick) -> None:
    medians = []
    for steps in (60, 480):
        numbers = [run_number(parts(healthy(seed, steps), ROWS), yardstick) for seed in range(300, 330)]
        medians.append(np.median([each.value for each in numbers if each is not None]))
    assert medians[1] == pytest.approx(medians[0], rel=0.2)


def test_a_run_without_a_window_or_without_layers_has_no_number(yardstick: Yardstick) -> None:
    assert run_number(parts(healthy(1, 8), ROWS), yardstick) is None
    run = healthy(1)
    run.columns = {"entropy": run.columns["entropy"]}
    assert run_number(parts(run, ROWS), yardstick) is None


@pytest.mark.parametrize(("count", "rate"), [(50, 1 / 51), (100, 1 / 101), (200, ALPHA), (1000, ALPHA)])
def test_the_promised_fraction_of_healthy_runs_is_beyond_the_limit(count: int, rate: float) -> None:
    rng = np.random.default_rng(0)
    beyond = []
    for _ in range(600):
        limit = limit_of(rng.lognormal(size=count))
        assert limit is not None
        beyond.append((rng.lognormal(size=200) > limit).mean())
    assert np.mean(beyond) == pytest.approx(rate, rel=0.25)
    assert np.mean(beyond) <= rate * 1.1


def test_below_the_fewest_there_is_no_limit() -> None:
    assert limit_of(np.arange(24.0)) is None
    taught = LearnedBaseline.empty(identity_of(healthy(0).model))
    taught.numbers = NumberSample.of((key, 1.0, 60, 60) for key in range(FEWEST_RUNS))
    taught.runs = FEWEST_RUNS - 1
    assert taught.limit() is None
    assert taught.profile() is None
    taught.runs = FEWEST_RUNS
    assert taught.limit() is not None


def test_runs_that_taught_nothing_do_not_make_the_limit_sink() -> None:
    """10,000 healthy runs, those beyond the limit left out: the rate stays what was promised."""
    rng = np.random.default_rng(1)

    def late_rate(*, counted: bool) -> float:
        kept, flagged, late = list(rng.lognormal(size=200)), 0, 0
        limit = limit_of(np.array(kept))
        for number in range(10_000):
            if number % 50 == 0:
                limit = limit_of(np.array(kept), flagged / len(kept) if counted else 0.0)
            value = rng.lognormal()
            if value > (limit or 0):
                flagged += 1
                late += number >= 5_000
            else:
                kept.append(value)
        return late / 5_000

    assert late_rate(counted=True) < 1.8 * ALPHA
    assert late_rate(counted=False) > 2 * ALPHA, "else it would need no counting"


def test_a_fault_that_comes_often_does_not_lift_the_limit() -> None:
    healthy_numbers = np.random.default_rng(2).lognormal(size=500)
    assert limit_of(healthy_numbers, flagged=0.3) == healthy_numbers.max()


def test_numbers_are_a_bounded_sample_that_is_the_same_in_any_order() -> None:
    rng = np.random.default_rng(3)
    keys = rng.permutation(4000).tolist()
    one, two, three = (
        NumberSample.of((key, float(key), 10, 60) for key in part) for part in (keys[:900], keys[900:1800], keys[1800:])
    )
    merged = one.merged(two).merged(three)
    for other in (one.merged(two.merged(three)), three.merged(one).merged(two), merged.merged(merged)):
        assert (other.entries == merged.entries).all(), "one that is added twice is in it once"
    assert len(merged.entries) == MOST_NUMBERS
    assert merged.values().tolist() == sorted(range(MOST_NUMBERS))


def test_numbers_of_the_first_runs_give_way_to_better_ones() -> None:
    first = NumberSample.of((key, 9.0, 10, 8) for key in range(60))
    assert set(first.values()) == {9.0}
    assert set(first.merged(NumberSample.of((100 + key, 1.0, 10, 50) for key in range(49))).values()) == {9.0, 1.0}
    assert set(first.merged(NumberSample.of((100 + key, 1.0, 10, 50) for key in range(50))).values()) == {1.0}
