"""The shipped coefficients: what tells wrong answers from right ones within a task, on several models.

Tasks differ in how often they are answered wrong and in how long answers are, so a plain fit learns which task a run
is of. Here every pair of model and task has an intercept of its own (fixed effects; Gelman & Hill 2007, chapter 11),
shrunk towards 0, and only what is common, the slopes, is kept, shrunk towards 0, too. Then one intercept and one slope
make probabilities of the sums, each pair counting the same.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.baselines.answer_model import AnswerModel, Term

from .table import Table

TERMS: Final = ("surprisal_scaled", "surprisal_head", "margin_mean", "margin_head")
SHRINKAGE: Final = 30.0
"""Precision of the slopes' prior: that of 30 / 4 runs that could go either way."""
_OF_GROUPS: Final = 0.3
_TAIL: Final = 0.001
"""Of the runs with the highest values of a feature, or the most tokens, that do not count as support. Below there is no
limit: no feature is negative, and the surest answers come near 0."""
METHOD: Final = "logistic-1"

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Slopes of standardised features, and the intercept."""

    names: tuple[str, ...]
    mean: Vector
    scale: Vector
    intercept: float
    slopes: Vector

    def log_odds(self, features: Vector) -> Vector:
        """Return the log-odds of runs [runs, names]."""
        return np.asarray(self.intercept + (features - self.mean) / self.scale @ self.slopes)


def fit(table: Table, names: tuple[str, ...] = TERMS, shrinkage: float = SHRINKAGE) -> Fit:
    """Fit the runs of a table."""
    features = table.features(names)
    mean, scale = features.mean(0), features.std(0)
    standard = (features - mean) / scale
    groups, group = np.unique(table.group, return_inverse=True)
    indicators = np.eye(len(groups))[group]
    ones = np.ones((len(standard), 1))
    precision = np.array([shrinkage] * len(names) + [_OF_GROUPS] * len(groups) + [0.0])
    slopes = logistic(np.hstack([standard, indicators, ones]), table.wrong, np.ones(len(ones)), precision)
    sums = standard @ slopes[: len(names)]
    counts = np.bincount(group)
    weights = (len(sums) / len(counts)) / counts[group]
    slope, intercept = logistic(np.column_stack([sums, ones]), table.wrong, weights, np.array([1e-6, 0.0]))
    return Fit(names, mean, scale, float(intercept), slope * slopes[: len(names)])


def logistic(inputs: Vector, wrong: Vector, weights: Vector, precision: Vector) -> Vector:
    """Return the coefficients of a logistic regression with a normal prior around 0, by Newton's method."""
    found = np.zeros(inputs.shape[1])
    for _ in range(100):
        probability = 1.0 / (1.0 + np.exp(-np.clip(inputs @ found, -30.0, 30.0)))
        slope = inputs.T @ (weights * (probability - wrong)) + precision * found
        bend = (inputs * (weights * probability * (1.0 - probability))[:, None]).T @ inputs + np.diag(precision + 1e-9)
        step = np.linalg.solve(bend, slope)
        found = found - step
        if np.abs(step).max() < 1e-9:
            break
    return found


def as_model(found: Fit, table: Table) -> AnswerModel:
    """Return a fit as it is shipped, with the support of the runs that it was made of."""
    features = table.features(found.names)
    high = np.quantile(features, 1.0 - _TAIL, axis=0)
    terms = tuple(
        Term(
            feature=name,
            mean=round(float(found.mean[at]), 4),
            scale=round(float(found.scale[at]), 4),
            coefficient=round(float(found.slopes[at]), 4),
            lowest=0.0,
            highest=round(float(high[at]), 4),
        )
        for at, name in enumerate(found.names)
    )
    return AnswerModel(
        method=METHOD,
        intercept=round(found.intercept, 4),
        terms=terms,
        most_tokens=int(np.quantile(table.tokens, 1.0 - _TAIL)),
        runs=len(features),
        models=len(set(table.model.tolist())),
    )
