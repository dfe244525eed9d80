"""Logistic regression with a ridge towards coefficients that are known, and Platt's scaling, by Newton's method."""

from typing import Final

import numpy as np

from ..evaluation.score_blocks import FloatMatrix, FloatVector, Truths

_MOST_STEPS: Final = 100
_CLOSE: Final = 1e-10
"""Of a step's largest part: nothing that is written has so many digits."""
_FLATTEST: Final = 1e-10
"""Curvature that is added, so that outcomes which a line separates have an end."""


def fit_logistic(inputs: FloatMatrix, targets: FloatVector, prior: FloatVector, penalties: FloatVector) -> FloatVector:
    """Return the coefficients that make this smallest:

    sum over the rows of -(t log p + (1 - t) log(1 - p)) + 1/2 sum over the coefficients of penalty x (it - prior)^2

    With a prior of 0 and penalties 1/C it is scikit-learn's `LogisticRegression(C=C)`.

    Args:
        inputs: [n, d]; a column of ones has the intercept as its coefficient.
        targets: in [0, 1] [n].
        prior: [d].
        penalties: at least 0 [d].
    """
    found = prior.astype(np.float64).copy()
    value = _loss(inputs, targets, prior, penalties, found)
    for _ in range(_MOST_STEPS):
        fitted = probabilities(inputs @ found)
        slope = inputs.T @ (fitted - targets) + penalties * (found - prior)
        curvature = (inputs * (fitted * (1 - fitted))[:, None]).T @ inputs + np.diag(penalties + _FLATTEST)
        step = np.linalg.solve(curvature, slope)
        length = 1.0
        while (after := _loss(inputs, targets, prior, penalties, found - length * step)) > value and length > _CLOSE:
            length /= 2
        if after > value:
            break
        found, value = found - length * step, after
        if np.abs(step).max() < _CLOSE:
            break
    return found


def platt_scaling(log_odds: FloatVector, wrong: Truths) -> tuple[float, float]:
    """Return slope and offset with which log-odds of runs that they were not fitted on become probabilities.

    Platt (1999), "Probabilistic Outputs for Support FloatVector Machines": a logistic regression on the log-odds, whose
    targets are (N+ + 1) / (N+ + 2) and 1 / (N- + 2) in place of 1 and 0.
    """
    positive = int(wrong.sum())
    targets = np.where(wrong, (positive + 1) / (positive + 2), 1 / (len(wrong) - positive + 2))
    inputs = np.column_stack([log_odds, np.ones(len(log_odds))])
    slope, offset = fit_logistic(inputs, targets, np.array([1.0, 0.0]), np.zeros(2))
    return float(slope), float(offset)


def probabilities(log_odds: FloatVector) -> FloatVector:
    """Return the logistic function of log-odds, by the formula that does not overflow."""
    small = np.exp(-np.abs(log_odds))
    return np.where(log_odds >= 0, 1 / (1 + small), small / (1 + small))


def log_losses(log_odds: FloatVector, targets: FloatVector) -> FloatVector:
    """Return the negative log-likelihood of each target [n]."""
    return np.asarray(np.logaddexp(0, log_odds) - targets * log_odds)


def _loss(
    inputs: FloatMatrix, targets: FloatVector, prior: FloatVector, penalties: FloatVector, found: FloatVector
) -> float:
    return float(log_losses(inputs @ found, targets).sum() + (penalties * (found - prior) ** 2).sum() / 2)
