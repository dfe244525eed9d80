"""How good probabilities are: each figure against a slow and obvious one."""

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.calibration.forecasts import gain_interval, quality
from opentelemetry_instrumentation_corevital.calibration.logistic_regression import probabilities

RNG = np.random.default_rng(5)
WRONG = RNG.random(103) < 0.4
SCORES = np.round(RNG.normal(size=103) + WRONG, 1)


def pairs(scores: np.ndarray, wrong: np.ndarray) -> float:
    """How often a wrong one is above a right one, each pair by itself."""
    found = [(a > b) + (a == b) / 2 for a in scores[wrong] for b in scores[~wrong]]
    return float(np.mean(found))


def test_quality_by_task_is_the_mean_of_tasks_that_have_both_outcomes() -> None:
    tasks = ["a" if number % 2 else "b" for number in range(100)] + ["few", "few", None]
    found = quality(SCORES, WRONG, tasks)
    masks = [np.array(tasks, object) == name for name in ("a", "b")]
    assert found.auroc_by_task == pytest.approx(np.mean([pairs(SCORES[each], WRONG[each]) for each in masks]))
    assert found.brier == pytest.approx(np.mean((probabilities(SCORES) - WRONG) ** 2))
    assert quality(SCORES, WRONG).auroc_by_task is None
    assert quality(SCORES, WRONG, ["one"] * 103).auroc_by_task is None


def test_the_interval_is_that_of_the_gain_and_wider_for_fewer_prompts() -> None:
    better = SCORES + WRONG
    gain = pairs(better, WRONG) - pairs(SCORES, WRONG)
    low, high = gain_interval(SCORES, better, WRONG, np.arange(103))
    assert 0 < low < gain < high
    few_low, few_high = gain_interval(SCORES, better, WRONG, np.arange(103) % 7)
    assert few_high - few_low != high - low
    assert gain_interval(SCORES, SCORES, WRONG, np.arange(103)) == (0, 0)
    assert gain_interval(SCORES, better, WRONG, np.arange(103)) == (low, high), "the draws are the same each time"
