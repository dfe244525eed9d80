"""Logistic regression and Platt's scaling, held to their definitions."""

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.calibration.logistic_regression import (
    fit_logistic,
    log_losses,
    platt_scaling,
    probabilities,
)

RNG = np.random.default_rng(3)
INPUTS = np.column_stack([np.ones(200), RNG.normal(size=(200, 3))])
TRUTHS = RNG.random(200) < probabilities(INPUTS @ np.array([0.3, 1.0, -0.5, 0.0]))

SKLEARN = (0.371041, 1.0528126, -0.4729951, -0.0674074)
"""scikit-learn 1.9.1 on these: `LogisticRegression(C=1/3, tol=1e-12, max_iter=10000)`."""


def loss(found: np.ndarray, prior: np.ndarray, penalties: np.ndarray) -> float:
    """The definition, a row at a time."""
    total = sum(float(p) * float(f - q) ** 2 / 2 for p, f, q in zip(penalties, found, prior, strict=True))
    for row, wrong in zip(INPUTS, TRUTHS, strict=True):
        p = 1 / (1 + np.exp(-float(row @ found)))
        total -= np.log(p if wrong else 1 - p)
    return float(total)


def test_towards_zero_it_is_scikit_learn_s() -> None:
    found = fit_logistic(INPUTS, TRUTHS.astype(float), np.zeros(4), np.array([0.0, 3, 3, 3]))
    np.testing.assert_allclose(found, SKLEARN, atol=1e-6)


@pytest.mark.parametrize("strength", [0.1, 10.0, 1000.0])
def test_it_is_the_smallest_near_it_and_goes_towards_the_prior(strength: float) -> None:
    prior, penalties = np.array([0.1, 2.0, 1.0, -1.0]), np.array([0.0, *[strength] * 3])
    found = fit_logistic(INPUTS, TRUTHS.astype(float), prior, penalties)
    best = loss(found, prior, penalties)
    for place in range(4):
        for step in (1e-3, -1e-3):
            assert loss(found + step * np.eye(4)[place], prior, penalties) > best
    free = fit_logistic(INPUTS, TRUTHS.astype(float), np.zeros(4), np.zeros(4))
    assert np.abs(found - prior)[1:].max() < np.abs(free - prior)[1:].max()


def test_outcomes_that_a_line_separates_and_huge_inputs_have_an_end() -> None:
    inputs = np.column_stack([np.ones(40), np.arange(-20, 20) * 1e3])
    found = fit_logistic(inputs, (np.arange(40) >= 20).astype(float), np.zeros(2), np.array([1e-3, 1e-3]))
    assert np.isfinite(found).all()
    assert ((inputs @ found > 0) == (np.arange(40) >= 20)).mean() > 0.9


def test_platt_s_targets_are_those_of_his_paper() -> None:
    """(N+ + 1) / (N+ + 2) and 1 / (N- + 2): the scaled log-odds of no information are those of the mean target."""
    wrong = np.array([True] * 30 + [False] * 10)
    slope, offset = platt_scaling(np.tile([1.0, -1.0], 20), wrong)
    mean_target = (30 * 31 / 32 + 10 * 1 / 12) / 40
    assert slope == pytest.approx(0, abs=1e-6)
    assert 1 / (1 + np.exp(-offset)) == pytest.approx(mean_target)


def test_log_losses_do_not_overflow() -> None:
    np.testing.assert_allclose(
        log_losses(np.array([800.0, -800.0, 0.0]), np.array([1.0, 1.0, 0.0])), [0, 800, np.log(2)]
    )
    np.testing.assert_allclose(probabilities(np.array([-800.0, 0.0, 800.0])), [0, 0.5, 1])
