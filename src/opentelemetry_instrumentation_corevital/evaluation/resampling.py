"""The bootstrap: prompts are drawn with replacement, and runs that answer one prompt come and go together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .score_blocks import FloatMatrix, FloatVector

DRAWS: Final = 1000
_ENDS: Final = (0.025, 0.975)
_FEWEST_FINITE: Final = 0.5
"""Part of the draws that must have a figure: of a few, an interval would say less than it seems to."""
_MOST_AT_ONCE: Final = 2_000_000
"""Weights of one part of the draws: memory does not grow with their number."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval; no ends where too few draws have the figure."""

    value: float
    low: float | None
    high: float | None


def numbered(prompts: Sequence[str]) -> NDArray[np.intp]:
    """Return the number of each run's prompt: from 0 on, in the order of the names [n]."""
    return np.unique(np.array(prompts, dtype=object).astype(str), return_inverse=True)[1].reshape(-1)


def prompt_weights(prompts: NDArray[np.intp], draws: int, seed: int) -> Iterator[FloatMatrix]:
    """Yield how often each run counts, for some draws at a time [some draws, n].

    A draw takes as many prompts as there are.

    Args:
        prompts: number of each run's prompt [n].
        draws: of all parts together.
        seed: of the generator; the same gives the same draws.
    """
    generator = np.random.default_rng(seed)
    count = int(prompts.max()) + 1
    step = max(1, _MOST_AT_ONCE // max(len(prompts), count))
    for start in range(0, draws, step):
        some = min(step, draws - start)
        picked = generator.integers(0, count, (some, count)) + np.arange(some)[:, None] * count
        counts = np.bincount(picked.ravel(), minlength=some * count).reshape(some, count)
        yield counts[:, prompts].astype(np.float64)


def figure(value: float, drawn: FloatVector, *, centred: bool = False) -> Figure | None:
    """Return a figure with the interval between the quantiles of its draws; None where the figure is NaN.

    Args:
        value: of the sample.
        drawn: of each draw; NaN where it has none.
        centred: whether the interval is moved so that the mean of the draws falls on the value, and ends at 0. For a
            calibration error: a draw has the error of chance twice.
    """
    if not np.isfinite(value):
        return None
    finite = drawn[np.isfinite(drawn)]
    if len(finite) < max(1, _FEWEST_FINITE * len(drawn)):
        return Figure(float(value), None, None)
    low, high = (float(each) for each in np.quantile(finite, _ENDS))
    if centred:
        moved = float(finite.mean()) - value
        low, high = max(0.0, low - moved), max(0.0, high - moved)
    return Figure(float(value), low, high)
