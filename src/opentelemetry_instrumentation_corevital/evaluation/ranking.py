"""The area under the ROC curve: how often a wrong answer has a higher score than a right one.

    AUROC = (pairs of a wrong and a right answer in which the wrong one's score is higher + ties / 2) / pairs

which is that of mean ranks (Mann and Whitney 1947; Hanley and McNeil 1982). 0.5 is chance.
"""

import numpy as np
from numpy.typing import NDArray

from .score_blocks import FloatVector, ScoreBlocks, Truths, ratio


def auroc(scores: FloatVector, wrong: Truths) -> float:
    """Return the area of one sample; NaN where one outcome is missing.

    Args:
        scores: of each run [n].
        wrong: whether its answer was wrong [n].
    """
    return float(concordance(ScoreBlocks.of(scores, wrong))[0])


def same_length_auroc(scores: FloatVector, wrong: Truths, tokens: NDArray[np.int64]) -> float:
    """Return the same over the pairs whose answers have equally many tokens; NaN where there are none.

    A score that says nothing but how long an answer is has 0.5.
    """
    return float(concordance(ScoreBlocks.of(scores, wrong, strata=tokens))[0])


def concordance(blocks: ScoreBlocks) -> FloatVector:
    """Return the area within the strata of each draw [draws]; NaN where no stratum has both outcomes."""
    sizes = np.diff(np.append(blocks.firsts, len(blocks.scores)))
    before = np.cumsum(blocks.right, axis=1) - blocks.right
    below = before - np.repeat(before[:, blocks.firsts], sizes, axis=1)
    won = (blocks.wrong * (below + blocks.right / 2)).sum(1)
    return ratio(won, pairs(blocks))


def pairs(blocks: ScoreBlocks) -> FloatVector:
    """Return how many pairs of a wrong and a right answer the strata of each draw have [draws]."""
    wrong, right = (np.add.reduceat(each, blocks.firsts, axis=1) for each in (blocks.wrong, blocks.right))
    found: FloatVector = (wrong * right).sum(1)
    return found
