"""How well numbers tell wrong answers from right ones: AUROC, the mean over tasks, with intervals by question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc

ROUNDS: Final = 1000
FEWEST: Final = 5
"""Runs of each outcome that a task needs."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Skill:
    """Macro AUROC of each number.

    Attributes:
        by_task: number -> task -> AUROC.
        macro: number -> mean over tasks.
        drawn: number -> macro AUROC of each bootstrap draw [ROUNDS]; the draws are the same for all numbers.
    """

    by_task: dict[str, dict[str, float]]
    macro: dict[str, float]
    drawn: dict[str, Vector]

    def interval(self, name: str, against: str | None = None) -> tuple[float, float]:
        """Return the 95 % interval of a number's macro AUROC, or of what it has over another one's."""
        values = self.drawn[name] - (0.0 if against is None else self.drawn[against])
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)


def two_sided(tasks: Sequence[str], wrong: NDArray[np.bool_]) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each task that has enough runs of each outcome."""
    named = np.array(tasks)
    rows = {task: np.flatnonzero(named == task) for task in dict.fromkeys(tasks)}
    return {task: some for task, some in rows.items() if min(wrong[some].sum(), (~wrong[some]).sum()) >= FEWEST}


def skill(numbers: Mapping[str, Vector], tasks: Sequence[str], wrong: NDArray[np.bool_]) -> Skill:
    """Return how well numbers [runs] tell wrong runs; larger has to mean wrong. One run is one question.

    A draw takes as many questions of each task as there are; one with a single outcome counts no task.

    Raises:
        ValueError: if no task has enough runs of each outcome.
    """
    rows = two_sided(tasks, wrong)
    if not rows:
        raise ValueError(f"no task has {FEWEST} right and {FEWEST} wrong answers")
    draw = np.random.default_rng(0)
    draws = {task: some[draw.integers(0, len(some), (ROUNDS, len(some)))] for task, some in rows.items()}
    by_task = {
        name: {task: auroc(values[some], wrong[some]) for task, some in rows.items()}
        for name, values in numbers.items()
    }
    with np.errstate(invalid="ignore"):  # a draw of one outcome
        drawn = {
            name: np.nanmean([[auroc(values[one], wrong[one]) for one in every] for every in draws.values()], axis=0)
            for name, values in numbers.items()
        }
    return Skill(by_task, {name: float(np.mean([*each.values()])) for name, each in by_task.items()}, drawn)


def as_figures(found: Skill, best_of: Sequence[str], against: str) -> dict[str, Any]:
    """Return the figures as data.

    Args:
        found: of all numbers.
        best_of: those of which `against` is compared with the best one.
        against: a number.
    """
    best = max(best_of, key=lambda name: found.macro[name])
    gain = found.macro[against] - found.macro[best]
    return {
        "auroc": {
            name: {
                "macro": round(value, 4),
                "interval": _rounded(found.interval(name)),
                "by_task": {task: round(each, 3) for task, each in found.by_task[name].items()},
            }
            for name, value in found.macro.items()
        },
        "gain": {"over": best, "value": round(gain, 4), "interval": _rounded(found.interval(against, best))},
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]
