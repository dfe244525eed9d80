"""What answers are worth if those with the highest scores are rejected: risk and coverage.

    coverage k/n     the k answers with the lowest scores are accepted
    risk at k        fraction of wrong answers among them; among equal scores, its mean over all orders
    AURC             mean of the risk over k = 1 ... n
    AURC*            that of an oracle, which accepts every right answer before a wrong one
    E-AURC           AURC - AURC*
    PRR              (base rate - AURC) / (base rate - AURC*)

The curve is that of Geifman and El-Yaniv (2017, arXiv 1705.08500), AURC and E-AURC those of Geifman, Uziel and
El-Yaniv (2019, arXiv 1805.08206). PRR is the area between the rejection curves of the score and of a random order over
that between an oracle and a random order (Malinin and Gales 2021, arXiv 2002.07650), over the quality of the answers
that remain, as lm-polygraph has it (arXiv 2406.15627): 0 is a random order, 1 the oracle. Where rejected answers count
as right instead, it is 2 AUROC - 1 of outcomes that are right or wrong, and says nothing new.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from .score_blocks import FloatMatrix, FloatVector, ScoreBlocks, Truths, ratio

MOST_POINTS: Final = 100
"""Of a curve that is drawn or written."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """The areas of each draw [draws]; NaN where a draw has no run, PRR also where one outcome is missing."""

    aurc: FloatVector
    e_aurc: FloatVector
    prr: FloatVector


def rejection(blocks: ScoreBlocks) -> Rejection:
    """Return the areas of blocks that are one stratum."""
    size = blocks.wrong + blocks.right
    total, errors = size.sum(1), blocks.wrong.sum(1)
    harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, int(total.max()) + 1)))
    accepted = np.cumsum(size, axis=1) - size
    wrong_before = np.cumsum(blocks.wrong, axis=1) - blocks.wrong
    span = harmonic[(accepted + size).astype(np.intp)] - harmonic[accepted.astype(np.intp)]
    rate = np.divide(blocks.wrong, size, out=np.zeros_like(size), where=size > 0)
    # Sum over j = 1 ... size of (wrong_before + rate j) / (accepted + j).
    found = ratio((wrong_before * span + rate * (size - accepted * span)).sum(1), total)
    oracle = ratio(_oracle(total, errors, harmonic), total)
    base = ratio(errors, total)
    return Rejection(found, found - oracle, ratio(base - found, np.where(errors < total, base - oracle, 0.0)))


def _oracle(total: FloatVector, errors: FloatVector, harmonic: FloatVector) -> FloatVector:
    right = total - errors
    return errors - right * (harmonic[total.astype(np.intp)] - harmonic[right.astype(np.intp)])


def areas(scores: FloatVector, wrong: Truths) -> dict[str, float]:
    """Return AURC, E-AURC and PRR of one sample, by name."""
    found = rejection(ScoreBlocks.of(scores, wrong))
    return {"aurc": float(found.aurc[0]), "e_aurc": float(found.e_aurc[0]), "prr": float(found.prr[0])}


def risk_coverage(scores: FloatVector, wrong: Truths, most: int = MOST_POINTS) -> FloatMatrix:
    """Return points of the curve: coverage, and risk of so many answers with the lowest scores [points, 2].

    Args:
        scores: of each run [n].
        wrong: whether its answer was wrong [n].
        most: how many points at most, at even coverage.
    """
    blocks = ScoreBlocks.of(scores, wrong)
    n = len(scores)
    ends = np.append(0.0, np.cumsum(blocks.wrong + blocks.right))
    errors = np.append(0.0, np.cumsum(blocks.wrong))
    counts = np.unique(np.linspace(1, n, min(n, most)).round())
    return np.column_stack([counts / n, np.interp(counts, ends, errors) / counts])
