"""How good probabilities of wrong answers are: ranking, calibration, and what one model has over another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluation.labelled_answers import enough
from ..evaluation.ranking import auroc, concordance
from ..evaluation.reliability import brier, calibration_error
from ..evaluation.resampling import DRAWS, figure, prompt_weights
from ..evaluation.score_blocks import FloatMatrix, FloatVector, ScoreBlocks, Truths, ratio
from .logistic_regression import probabilities


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the probabilities of one model are."""

    auroc: float
    """Of all runs together."""
    auroc_by_task: float | None
    """Mean over the tasks that have enough of both outcomes; None where that are fewer than two."""
    ece: float
    """Expected calibration error as `corevital evaluate` has it."""
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
        brier(forecast, wrong),
    )


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
    parts = _tasks(wrong, tasks) or [np.ones(len(wrong), bool)]
    drawn = [
        _mean_gain([_gain(shipped[each], own[each], wrong[each], weights[:, each]) for each in parts])
        for weights in prompt_weights(groups, DRAWS, seed=0)
    ]
    found = figure(0.0, np.concatenate(drawn))
    if found is None or found.low is None or found.high is None:
        return np.nan, np.nan
    return found.low, found.high


def _gain(shipped: FloatVector, own: FloatVector, wrong: Truths, weights: FloatMatrix) -> FloatVector:
    """Return the gain in AUROC in each draw [draws]; NaN where it lacks an outcome."""
    before, after = (concordance(ScoreBlocks.of(each, wrong, weights)) for each in (shipped, own))
    return after - before


def _mean_gain(gains: Sequence[FloatVector]) -> FloatVector:
    """Return the mean over the tasks that have a gain, of each draw [draws]; NaN where none has."""
    table = np.array(gains)
    known = np.isfinite(table)
    return ratio(np.where(known, table, 0.0).sum(0), known.sum(0).astype(np.float64))


def _tasks(wrong: Truths, tasks: Sequence[str | None] | None) -> list[NDArray[np.bool_]]:
    """Return which runs are of each task that counts; empty where these are fewer than two."""
    names = np.array(["" if task is None else task for task in tasks or ()], dtype=object)
    masks = [names == name for name in sorted(set(names.tolist()) - {""})]
    known = [each for each in masks if enough(wrong[each])]
    return known if len(known) > 1 else []
