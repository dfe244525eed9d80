"""What chance makes of a calibration error, and intervals of fractions."""

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.evaluation.reliability import (
    calibration_error,
    perfect_errors,
    reliability,
)


def test_a_perfect_forecaster_has_the_error_of_outcomes_drawn_from_its_probabilities() -> None:
    rng = np.random.default_rng(2)
    forecast = np.round(rng.beta(2, 3, 150), 2)
    found = perfect_errors(forecast, 400, seed=1)
    slow = [calibration_error(forecast, rng.random(150) < forecast) for _ in range(400)]
    assert np.mean(found) == pytest.approx(np.mean(slow), rel=0.06)
    assert np.quantile(found, 0.95) == pytest.approx(np.quantile(slow, 0.95), rel=0.1)
    assert perfect_errors(forecast, 400, seed=1) == pytest.approx(found), "a seed gives the same draws"


def test_it_falls_with_the_number_of_runs_and_is_0_for_who_is_certain() -> None:
    few, many = (perfect_errors(np.linspace(0.1, 0.9, n), 200, seed=0).mean() for n in (50, 5000))
    assert few > 5 * many
    assert not perfect_errors(np.array([0.0, 1.0, 1.0]), 20, seed=0).any()


def test_equal_probabilities_are_one_bin() -> None:
    (found,) = reliability(np.full(30, 0.3), np.arange(30) < 12)
    assert (found.runs, found.forecast, found.wrong) == (30, pytest.approx(0.3), 0.4)
    assert calibration_error(np.full(30, 0.3), np.arange(30) < 12) == pytest.approx(0.1)


def test_the_interval_of_a_fraction_is_wilsons() -> None:
    (found,) = reliability(np.full(10, 0.5), np.arange(10) < 3)
    assert (found.low, found.high) == (pytest.approx(0.10779, abs=1e-5), pytest.approx(0.60322, abs=1e-5))
    (none,) = reliability(np.full(10, 0.5), np.zeros(10, bool))
    assert none.low == 0
    assert none.high == pytest.approx(0.27753, abs=1e-5)
