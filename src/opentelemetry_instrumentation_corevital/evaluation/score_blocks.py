"""Runs of equal score as one block: what every figure of a ranking is made from, so that ties have no order.

Every figure is a function of weights [draws, n]: how often each run counts in each draw. All of 1 is the sample itself;
the counts of resampled prompts give what the figure would be in other samples.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float64]
FloatMatrix = NDArray[np.float64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScoreBlocks:
    """How many runs of each score are wrong and right in each draw, the lowest score first."""

    scores: FloatVector
    """Of each block [blocks]."""
    firsts: NDArray[np.intp]
    """The first block of each stratum."""
    wrong: FloatMatrix
    """[draws, blocks]."""
    right: FloatMatrix
    """[draws, blocks]."""

    @classmethod
    def of(
        cls,
        scores: FloatVector,
        wrong: Truths,
        weights: FloatMatrix | None = None,
        strata: NDArray[np.int64] | None = None,
    ) -> Self:
        """Return the blocks of runs.

        Args:
            scores: of each run, finite; higher where it is more probably wrong [n].
            wrong: whether its answer was wrong [n].
            weights: how often it counts in each draw [draws, n]; None: once, in one draw.
            strata: runs are compared with those of their own number only [n]; None: with all.

        Raises:
            ValueError: for no run, and for a score that is not finite.
        """
        if not len(scores) or not np.isfinite(scores).all():
            raise ValueError("scores: at least one is needed, and each has to be finite")
        counts = ones(len(scores)) if weights is None else weights
        strata = np.zeros(len(scores), np.int64) if strata is None else strata
        order = np.lexsort((scores, strata))
        ordered, of_stratum = scores[order], strata[order]
        new_stratum = np.append(True, of_stratum[1:] != of_stratum[:-1])
        new_block = new_stratum | np.append(True, ordered[1:] != ordered[:-1])
        starts = np.flatnonzero(new_block)
        taken, truth = counts[:, order], wrong[order]
        return cls(
            ordered[starts],
            np.flatnonzero(new_stratum[starts]),
            np.add.reduceat(taken * truth, starts, axis=1),
            np.add.reduceat(taken * ~truth, starts, axis=1),
        )


def ones(n: int) -> FloatMatrix:
    """Return the weights of a sample itself [1, n]."""
    return np.ones((1, n))


def ratio(above: FloatMatrix | FloatVector, below: FloatMatrix | FloatVector) -> FloatVector:
    """Return a quotient; NaN where it is of nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below != 0, above / below, np.nan)
