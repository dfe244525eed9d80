"""How true probabilities are: calibration error over bins of equally many runs, and the Brier score.

    bins       `BINS` of them, between the quantiles of the probabilities (linear interpolation); a probability that
               is a quantile is in the lower bin, equal ones are in one bin, and a bin without a run does not count
    ECE        sum over the bins of runs / n x |mean probability - fraction of wrong answers|
    Brier      mean of (probability - outcome)^2, an outcome being 1 where the answer is wrong
    skill      1 - Brier / (b (1 - b)), b being the base rate: 0 is to say the base rate of all, below 0 is worse

The bins are those of scikit-learn's `calibration_curve(strategy="quantile")`. The calibration error is that of
Naeini, Cooper and Hauskrecht (2015), over bins of equally many; the score is Brier's (1950), the skill Murphy's (1973).

Chance alone gives finitely many runs a calibration error. So beside it stands that of a perfect forecaster: outcomes
are drawn from these very probabilities, which are then true, and the error of each draw is taken.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .score_blocks import FloatMatrix, FloatVector, Truths, ones, ratio

BINS: Final = 10
_LEVELS: Final = np.true_divide(np.linspace(0, 1, BINS + 1) * 100, 100)[1:-1]  # rounded as scikit-learn's are
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Runs of nearly the same probability."""

    runs: int
    forecast: float
    """Their mean probability."""
    wrong: float
    """The fraction whose answer was wrong."""
    low: float
    high: float
    """Wilson's 95 % interval of that fraction."""


def reliability(forecast: FloatVector, wrong: Truths) -> list[ReliabilityBin]:
    """Return the bins that have runs, the lowest probabilities first."""
    order = np.argsort(forecast, kind="stable")
    parts = np.split(order, _ends(forecast[order], ones(len(order)))[0])
    return [_bin(forecast[part], wrong[part]) for part in parts if len(part)]


def _bin(forecast: FloatVector, wrong: Truths) -> ReliabilityBin:
    n, rate = len(wrong), float(wrong.mean())
    middle = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * np.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    low, high = (float(np.clip(each, 0, 1)) for each in (middle - reach, middle + reach))
    return ReliabilityBin(n, float(forecast.mean()), rate, low, high)


def calibration_error(forecast: FloatVector, wrong: Truths) -> float:
    """Return the expected calibration error of one sample."""
    return float(calibration_errors(forecast, wrong, ones(len(forecast)))[0])


def calibration_errors(forecast: FloatVector, wrong: Truths, weights: FloatMatrix) -> FloatVector:
    """Return that of each draw, over bins of its own [draws]; NaN where it has no run.

    Args:
        forecast: the probability that each answer is wrong [n].
        wrong: [n].
        weights: how often each run counts in each draw, whole numbers [draws, n].
    """
    order = np.argsort(forecast, kind="stable")
    ordered, counts = forecast[order], weights[:, order]
    gaps = np.cumsum(counts * (ordered - wrong[order]), axis=1)
    total = counts.sum(1)
    at_ends = np.take_along_axis(np.column_stack([np.zeros(len(gaps)), gaps]), _ends(ordered, counts), axis=1)
    parts = np.diff(np.column_stack([np.zeros(len(gaps)), at_ends, gaps[:, -1]]), axis=1)
    return ratio(np.abs(parts).sum(1), total)


def _ends(ordered: FloatVector, counts: FloatMatrix) -> NDArray[np.intp]:
    """Return how many of the ordered runs are in all bins up to each but the last [draws, BINS - 1]."""
    total = counts.sum(1)
    at = _LEVELS * (np.maximum(total, 1)[:, None] - 1)
    lower = np.floor(at)
    below, above = (_picked(ordered, counts, np.minimum(each, total[:, None] - 1)) for each in (lower, lower + 1))
    part = at - lower
    gap = above - below
    edges = np.where(part < 0.5, below + gap * part, above - gap * (1 - part))  # as NumPy's quantiles are rounded
    found: NDArray[np.intp] = np.searchsorted(ordered, edges, side="right")
    return found


def _picked(ordered: FloatVector, counts: FloatMatrix, places: FloatMatrix) -> FloatMatrix:
    """Return the value at places of each draw, in which every run stands as often as it counts [draws, places]."""
    draws, n = counts.shape
    reach = np.cumsum(counts, axis=1)
    apart = np.arange(draws)[:, None] * (reach[:, -1].max() + 2)  # one long ascending list in place of one per draw
    found = np.searchsorted((reach + apart).ravel(), (places + apart).ravel(), side="right").reshape(places.shape)
    picked: FloatMatrix = ordered[np.clip(found - np.arange(draws)[:, None] * n, 0, n - 1)]
    return picked


def perfect_errors(forecast: FloatVector, draws: int, seed: int) -> FloatVector:
    """Return the calibration error of a forecaster whose probabilities these are and who is right, in draws [draws].

    Args:
        forecast: [n].
        draws: how often outcomes are drawn from the probabilities.
        seed: of the generator.
    """
    ordered = np.sort(forecast)
    bounds = np.concatenate([[0], _ends(ordered, ones(len(ordered)))[0], [len(ordered)]])
    generator = np.random.default_rng(seed)
    found = np.empty(draws)
    step = max(1, _MOST_AT_ONCE // len(ordered))
    for start in range(0, draws, step):
        some = min(step, draws - start)
        gaps = np.cumsum(ordered - (generator.random((some, len(ordered))) < ordered), axis=1)
        parts = np.diff(np.column_stack([np.zeros(some), gaps])[:, bounds], axis=1)
        found[start : start + some] = np.abs(parts).sum(1) / len(ordered)
    return found


_MOST_AT_ONCE: Final = 2_000_000


def brier(forecast: FloatVector, wrong: Truths) -> float:
    """Return the Brier score of one sample."""
    return float(briers(forecast, wrong, ones(len(forecast)))[0][0])


def brier_skill(forecast: FloatVector, wrong: Truths) -> float:
    """Return its skill against the base rate; NaN where one outcome is missing."""
    return float(briers(forecast, wrong, ones(len(forecast)))[1][0])


def briers(forecast: FloatVector, wrong: Truths, weights: FloatMatrix) -> tuple[FloatVector, FloatVector]:
    """Return the Brier score and its skill against the base rate of each draw [draws]."""
    total = weights.sum(1)
    score = ratio(weights @ (forecast - wrong) ** 2, total)
    base = ratio(weights @ wrong.astype(np.float64), total)
    return score, 1.0 - ratio(score, base * (1 - base))
