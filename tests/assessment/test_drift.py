"""Change points of series, held against pairs counted one by one, and the limit that unchanged series stay below."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.drift import (
    FALSE_ALARMS,
    FEWEST_AFTER,
    FEWEST_BEFORE,
    LEAST_EFFECT,
    LIMIT,
    MOST_RUNS,
    MOST_SIGNALS,
    find_change,
    find_rate_change,
    length_strata,
    rate_scores,
    split_scores,
)

ROOT = Path(__file__).parents[2]
Values = NDArray[np.float64]


def none_of(series: Values) -> NDArray[np.int64]:
    return np.zeros(len(series), np.int64)


def by_pairs(values: Values, strata: NDArray[np.int64], split: int) -> tuple[float, float]:
    """Return score and effect of a split from every pair of a run before it and one behind it, in float64."""
    difference = weight = variance = 0.0
    for stratum in sorted(set(strata.tolist())):
        before = [float(value) for value in values[:split][strata[:split] == stratum]]
        after = [float(value) for value in values[split:][strata[split:] == stratum]]
        runs = len(before) + len(after)
        won = math.fsum((b > a) + (b == a) / 2 for a in before for b in after)
        difference += (won - len(before) * len(after) / 2) / runs
        weight += len(before) * len(after) / runs
        variance += len(before) * len(after) * (runs + 1) / (12 * runs**2)
    return difference / math.sqrt(variance), 0.5 + difference / weight


@pytest.mark.parametrize("strata", [1, 3])
@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_those_of_all_pairs(strata: int, ties: bool) -> None:
    rng = np.random.default_rng(strata)
    values = rng.standard_cauchy(90)
    values = np.round(values) if ties else values
    stratum = rng.integers(0, strata, 90)
    scores, effects = split_scores(values, stratum)
    for split in range(20, 80, 7):
        assert (scores[split], effects[split]) == pytest.approx(by_pairs(values, stratum, split), abs=1e-12)


def test_with_one_stratum_the_score_is_mann_and_whitneys_z() -> None:
    values = np.random.default_rng(1).normal(size=120)
    scores, _ = split_scores(values, none_of(values))
    won = sum(after > before for before in values[:70] for after in values[70:])
    assert scores[70] == pytest.approx((won - 70 * 50 / 2) / math.sqrt(70 * 50 * 121 / 12))


def test_scores_of_a_flag_are_roots_of_its_deviance() -> None:
    flags = np.array([0.0] * 60 + [1.0, 0.0, 1.0, 1.0] * 5)
    scores = rate_scores(flags, none_of(flags))
    expected = 20 * 15 / 80
    assert scores[60] == pytest.approx(math.sqrt(2 * (15 * math.log(15 / expected) - 15 + expected)))
    assert rate_scores(1 - flags, none_of(flags))[60] < 0


def test_a_change_is_found_dated_and_told_in_the_numbers_own_unit() -> None:
    rng = np.random.default_rng(2)
    series = np.concatenate((rng.normal(2.0, 0.4, 200), rng.normal(3.0, 0.4, 30)))
    change = find_change(series, none_of(series))
    assert change is not None
    assert abs(change.place - 200) <= 2
    assert change.score > LIMIT
    assert change.effect > 0.9
    assert (change.before, change.after) == pytest.approx((2.0, 3.0), abs=0.2)
    fell = find_change(-series, none_of(series))
    assert fell is not None
    assert (fell.place, fell.score, fell.effect) == pytest.approx((change.place, -change.score, 1 - change.effect))
    curved = find_change(np.exp(3 * series), none_of(series))
    assert curved is not None
    assert (curved.place, curved.score) == (change.place, change.score), "ranks are the same on any scale"


def test_what_was_not_measured_is_left_out_and_places_are_of_the_whole_series() -> None:
    rng = np.random.default_rng(3)
    series = np.full(460, np.nan)
    series[::2] = np.concatenate((rng.normal(0, 1, 200), rng.normal(3, 1, 30)))
    series[1] = np.inf
    change = find_change(series, none_of(series))
    assert change is not None
    assert abs(change.place - 400) <= 8
    assert np.isfinite(series[change.place])


def test_too_few_runs_before_or_behind_and_small_effects_say_nothing() -> None:
    rng = np.random.default_rng(4)
    usual, changed = rng.normal(0, 1, 2000), rng.normal(9, 1, 2000)
    for before, after in ((FEWEST_BEFORE // 10, 300), (300, FEWEST_AFTER // 3), (20, 20), (0, 0)):
        series = np.concatenate((usual[:before], changed[:after]))
        assert find_change(series, none_of(series)) is None
        assert find_rate_change((series > 5).astype(float), none_of(series)) is None
    slight = np.concatenate((usual[:1000], usual[1000:] + 0.3))
    scores, effects = split_scores(slight, none_of(slight))
    assert np.abs(scores).max() > LIMIT, "it is sure"
    assert np.abs(effects[900:1100] - 0.5).max() < LEAST_EFFECT
    assert find_change(slight, none_of(slight)) is None


def test_one_that_is_far_out_is_no_drift() -> None:
    series = np.random.default_rng(5).normal(size=300)
    series[-3:] = 1e9
    assert find_change(series, none_of(series)) is None


def test_a_change_that_is_over_is_no_drift_any_more() -> None:
    series = np.random.default_rng(6).normal(size=700)
    series[300:340] += 4
    assert find_change(series[:340], none_of(series[:340])) is not None
    assert find_change(series, none_of(series)) is None


def test_other_lengths_are_no_change_of_what_depends_on_them() -> None:
    rng = np.random.default_rng(7)
    tokens = np.concatenate(
        (rng.choice([20, 40, 300], 300, p=[0.5, 0.4, 0.1]), rng.choice([20, 40, 300], 100, p=[0.1, 0.2, 0.7]))
    )
    series = np.log2(tokens) / 3 + rng.normal(0, 0.2, 400)
    assert find_change(series, none_of(series)) is not None
    assert find_change(series, length_strata(tokens.astype(float))) is None
    changed = series + 0.4 * (np.arange(400) >= 300)
    found = find_change(changed, length_strata(tokens.astype(float)))
    assert found is not None
    assert abs(found.place - 300) <= 5


def test_lengths_with_nothing_in_common_are_not_compared() -> None:
    rng = np.random.default_rng(8)
    tokens = np.concatenate((np.full(200, 40.0), np.full(60, 500.0)))
    series = np.concatenate((rng.normal(0, 1, 200), rng.normal(9, 1, 60)))
    assert find_change(series, length_strata(tokens)) is None
    assert length_strata(np.array([1.0, 2, 3, 64, 127, 128, 0, np.nan])).tolist() == [0, 1, 1, 6, 6, 7, -1, -1]


def test_loops_that_come_up_are_found_and_rare_ones_are_not() -> None:
    rng = np.random.default_rng(9)
    rare = (rng.random(MOST_RUNS) < 0.01).astype(float)
    assert find_rate_change(rare, none_of(rare)) is None
    once = np.zeros(500)
    once[-1] = 1
    assert find_rate_change(once, none_of(once)) is None
    risen = np.concatenate((rare[:500], (rng.random(50) < 0.4).astype(float)))
    change = find_rate_change(risen, none_of(risen))
    assert change is not None
    assert abs(change.place - 500) <= 12
    assert change.before < 0.02 < 0.2 < change.after
    assert change.effect == pytest.approx(change.after - change.before)
    assert find_rate_change(np.ones(300), np.zeros(300, np.int64)) is None


def test_the_limit_is_what_was_simulated() -> None:
    found = json.loads((ROOT / "docs" / "results" / "drift-limits.json").read_text(encoding="utf-8"))
    assert (found["fewest_before"], found["fewest_after"]) == (FEWEST_BEFORE, FEWEST_AFTER)
    allowed = FALSE_ALARMS / MOST_SIGNALS
    assert found["sequences"] * allowed >= 5, "enough of them to know the quantile"
    simulated = found["limits"][str(MOST_RUNS)][f"{allowed:g}"]
    assert simulated <= LIMIT <= simulated + 0.1


def test_flags_that_never_changed_stay_below_the_limit_too() -> None:
    """The limit is that of numbers; flags of any rate are held by it, of 100 series of each as often as 1 in 200."""
    rng, passed = np.random.default_rng(10), 0
    for rate in (0.002, 0.02, 0.1, 0.5):
        for _ in range(50):
            flags = (rng.random(MOST_RUNS) < rate).astype(float)
            inner = np.abs(rate_scores(flags, none_of(flags)))[FEWEST_BEFORE : -FEWEST_AFTER + 1]
            passed += inner.max() > LIMIT
    assert passed <= 1


def test_a_longer_series_counts_with_its_newest_runs() -> None:
    rng = np.random.default_rng(11)
    series = np.concatenate((rng.normal(9, 1, 500), rng.normal(0, 1, MOST_RUNS - 60), rng.normal(4, 1, 60)))
    change = find_change(series, none_of(series))
    assert change is not None
    assert abs(change.place - (len(series) - 60)) <= 2
