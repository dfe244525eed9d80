"""The labelled answers of one model to one task, with what every score says of them: what is evaluated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .score_blocks import FloatVector, Truths

ANSWER: Final = "answer risk"
RISK: Final = "risk score"
LENGTH: Final = "length"
BASE_RATE: Final = "base rate"
BASELINES: Final = (
    LENGTH,
    "summed surprisal",
    "surprisal / sqrt(n)",
    "mean surprisal",
    "mean entropy",
)
"""What anybody has without a model of the risk."""
SCORES: Final = (ANSWER, RISK, *BASELINES, BASE_RATE)
FORECASTS: Final = (ANSWER, RISK)
"""Scores from 0 to 1 that are read as probabilities; the risk score is none, and is read so to show that."""
FEWEST_OF_EACH: Final = 5
"""Runs of each outcome that a group needs to count in a mean: with fewer its AUROC is chance."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Runs as columns, one place per run."""

    model: str
    task: str
    wrong: Truths
    """[n], from 1 run on."""
    prompts: tuple[str, ...]
    """What each answers [n]."""
    tokens: NDArray[np.int64]
    """How long each is [n]."""
    scores: Mapping[str, FloatVector]
    """Each score of `SCORES` that every run has, but the base rate: finite [n]."""
    half: Mapping[str, FloatVector]
    """The same of the first half of the steps, as far as it is known [n]; NaN where it is not."""

    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason -> labelled runs of the group that are not in these columns."""


def enough(wrong: Truths) -> bool:
    """Return whether there are enough runs of both outcomes."""
    errors = int(wrong.sum())
    return min(errors, len(wrong) - errors) >= FEWEST_OF_EACH


def together(parts: Sequence[Answers], task: str) -> Answers:
    """Return the answers of one model to several tasks as those of one, with the scores that all have."""
    scores = [name for name in parts[0].scores if all(name in each.scores for each in parts)]
    half = [name for name in scores if all(name in each.half for each in parts)]
    return Answers(
        model=parts[0].model,
        task=task,
        wrong=np.concatenate([each.wrong for each in parts]),
        prompts=tuple(prompt for each in parts for prompt in each.prompts),
        tokens=np.concatenate([each.tokens for each in parts]),
        scores={name: np.concatenate([each.scores[name] for each in parts]) for name in scores},
        half={name: np.concatenate([each.half[name] for each in parts]) for name in half},
        left_out=left_out_of(parts),
    )


def left_out_of(parts: Sequence[Answers]) -> dict[str, int]:
    """Return why runs of groups are not in their columns, and how many: the most frequent reason first."""
    found: Counter[str] = Counter()
    for each in parts:
        found.update(each.left_out)
    return dict(found.most_common())
