"""The promised rate: how often a limit calls a healthy run out."""

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.baselines.profile import ProfiledRuns
from opentelemetry_instrumentation_corevital.baselines.profile_limits import limit_of_all, limit_of_profile
from opentelemetry_instrumentation_corevital.baselines.run_numbers import RULE_VERSION, limit_of
from opentelemetry_instrumentation_corevital.calibration import fit_profile
from opentelemetry_instrumentation_corevital.calibration.false_alarms import FalseAlarms, false_alarms
from tests.support.healthy_runs import healthy
from tests.support.known_models import is_beyond


def numbers(values: list[float], groups: list[int] | None = None) -> ProfiledRuns:
    count = len(values)
    chosen = range(count) if groups is None else groups
    return ProfiledRuns(rule=RULE_VERSION, values=values, tokens=[60] * count, groups=list(chosen))


@pytest.mark.parametrize(("runs", "rate"), [(50, 1 / 51), (120, 1 / 121), (200, 0.005), (500, 0.005)])
def test_so_many_healthy_runs_are_beyond_the_limit_whatever_their_distribution(runs: int, rate: float) -> None:
    draw = np.random.default_rng(runs)
    beyond, baselines = 0, 4000
    for _ in range(baselines):
        values = draw.standard_cauchy(runs + 1) ** 2
        limit = limit_of(values[:-1])
        assert limit is not None
        beyond += values[-1] > limit
    slack = 4 * (rate * (1 - rate) / baselines) ** 0.5
    assert rate * 0.5 - slack < beyond / baselines <= rate + slack


def test_new_healthy_runs_of_a_model_are_beyond_a_profiles_limit_as_seldom_as_promised() -> None:
    """Over five baselines of 60 runs, 80 runs each: 6.6 would be beyond if the rate is 1 in 61."""
    beyond = 0
    for baseline in range(5):
        first = 1000 * (baseline + 1)
        limit, _ = limit_of_profile(fit_profile([healthy(first + seed, 40) for seed in range(60)]))
        assert limit is not None
        beyond += sum(is_beyond(healthy(first + 500 + seed, 40), limit) for seed in range(80))
    assert beyond <= 16


def test_false_alarms_are_runs_beyond_the_limit_of_the_other_prompts() -> None:
    draw = np.random.default_rng(3)
    values = draw.gamma(3, 1, 240).tolist()
    groups = [number // 3 for number in range(240)]
    values[30] = values[31] = 1.5 * max(values)
    found = false_alarms(numbers(values, groups))
    slow = 0
    for value, group in zip(values, groups, strict=True):
        limit = limit_of_all(np.array([other for other, its in zip(values, groups, strict=True) if its != group]))
        assert limit is not None
        slow += value > limit
    assert found == FalseAlarms(slow, 240)
    assert slow >= 2, "two answers to one prompt do not hide each other"
    alone = false_alarms(numbers(values))
    assert alone is not None
    assert alone.beyond < slow


def test_too_few_runs_have_no_rate() -> None:
    assert false_alarms(numbers([1.0] * 20)) is None
    assert false_alarms(numbers([1.0] * 60, [0] * 60)) is None, "all of one prompt"


def test_the_interval_is_wilsons() -> None:
    low, high = FalseAlarms(3, 60).interval
    assert (low, high) == (pytest.approx(0.01714, abs=1e-4), pytest.approx(0.13705, abs=1e-4))
    assert FalseAlarms(0, 60).interval[0] == 0
    assert 0.05 < FalseAlarms(0, 60).interval[1] < 0.07
    assert FalseAlarms(60, 60).interval[1] == 1
