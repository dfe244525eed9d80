"""How good probabilities of wrong answers are: ranking, calibration, and what one model has over another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .logistic_regression import FloatVector, Truths, probabilities

BINS: Final = 10
"""Of the calibration error: bins of as many runs each as can be."""
FEWEST_OF_EACH: Final = 5
"""Runs of each outcome that a task needs: with fewer its AUROC is chance."""
_DRAWS: Final = 1000
_LEVELS: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the probabilities of one model are."""

    auroc: float
    """Of all runs together."""
    auroc_by_task: float | None
    """Mean over the tasks that have enough of both outcomes; None where that are fewer than two."""
    ece: float
    """Expected calibration error over `BINS` bins of equal counts."""
    brier: float
    """Mean squared distance of the probability from the outcome."""


def quality(log_odds: FloatVector, wrong: Truths, tasks: Sequence[str | None] | None = None) -> Quality:
    """Return how good log-odds [n] are for runs that they were not fitted on."""
    forecast = probabilities(log_odds)
    named = _tasks(wrong, tasks)
    parts = [auroc(log_odds[each], wrong[each]) for each in named]
    return Quality(
        auroc(log_odds, wrong),
        float(np.mean(parts)) if parts else None,
        calibration_error(forecast, wrong),
        float(np.mean((forecast - wrong) ** 2)),
    )


def auroc(scores: FloatVector, wrong: Truths, weights: FloatVector | None = None) -> float:
    """Return the area under the ROC curve: how often a wrong run has the higher score, a tie counting half.

    Args:
        scores: [n].
        wrong: [n], both outcomes among those with a weight.
        weights: how often each run counts [n]; default: once.
    """
    _, places = np.unique(scores, return_inverse=True)
    counts = np.ones(len(scores)) if weights is None else weights
    positive, negative = (np.bincount(places, counts * which) for which in (wrong, ~wrong))
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def calibration_error(forecast: FloatVector, wrong: Truths) -> float:
    """Return the expected calibration error: over the bins, the mean distance of forecast and outcome, by runs."""
    order = np.argsort(forecast, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs((forecast[each] - wrong[each]).sum()) for each in bins) / len(order))


def gain_interval(
    shipped: FloatVector,
    own: FloatVector,
    wrong: Truths,
    groups: NDArray[np.intp],
    tasks: Sequence[str | None] | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of the gain in AUROC, by 1000 draws of prompts with replacement; by task if that counts.

    Args:
        shipped, own: log-odds of the two [n].
        wrong: [n].
        groups: the prompt of each run, from 0 on [n].
        tasks: of each run.
    """
    draws = np.random.default_rng(0)
    count = int(groups.max()) + 1
    parts = _tasks(wrong, tasks) or [np.ones(len(wrong), bool)]
    found = []
    for _ in range(_DRAWS):
        weights = np.bincount(draws.integers(0, count, count), minlength=count)[groups].astype(np.float64)
        gains = [
            auroc(own[each], wrong[each], weights[each]) - auroc(shipped[each], wrong[each], weights[each])
            for each in parts
            if weights[each & wrong].any() and weights[each & ~wrong].any()
        ]
        if gains:
            found.append(np.mean(gains))
    low, high = np.quantile(found, _LEVELS) if found else (np.nan, np.nan)
    return float(low), float(high)


def _tasks(wrong: Truths, tasks: Sequence[str | None] | None) -> list[NDArray[np.bool_]]:
    """Return which runs are of each task that counts; empty where these are fewer than two."""
    names = np.array(["" if task is None else task for task in tasks or ()], dtype=object)
    masks = [names == name for name in sorted(set(names.tolist()) - {""})]
    known = [each for each in masks if min(wrong[each].sum(), (~wrong)[each].sum()) >= FEWEST_OF_EACH]
    return known if len(known) > 1 else []
