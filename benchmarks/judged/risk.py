"""The risk score: against degenerate runs, and against wrong answers, where it promises nothing."""

from collections.abc import Sequence

import numpy as np

from .figures import Figure, Section, auroc, bootstrap, share
from .replay import Replay


def sections(replays: Sequence[Replay]) -> list[Section]:
    """Return what is told of the risk score."""
    half = [one for one in replays if one.sample.half == "report" and one.run.risk is not None]
    return [of_failures(half), of_wrong_answers([one for one in replays if one.run.risk is not None])]


def score(one: Replay) -> float:
    """Return a run's risk."""
    return one.run.risk.score if one.run.risk else 0.0


def low(replays: Sequence[Replay]) -> int:
    """Return how many have the level low."""
    return sum(score(one) < 0.3 for one in replays)


def of_failures(half: Sequence[Replay]) -> Section:
    """Levels of degenerate and of ordinary runs."""
    degenerate = [one for one in half if one.sample.degenerate]
    ordinary = [one for one in half if one.ordinary and one.sample.plan["name"] != "hot"]
    hot = [one for one in half if one.ordinary and one.sample.plan["name"] == "hot"]
    both = [*degenerate, *ordinary]
    scores, positive = np.array([score(one) for one in both]), np.array([one.sample.degenerate for one in both])
    groups = [one.sample.prompt["group"] for one in both]
    return Section(
        "Risk, method `rules`: degenerate and ordinary runs",
        [
            share("degenerate runs with level high", sum(score(one) >= 0.7 for one in degenerate), len(degenerate)),
            share("ordinary runs with level low, greedy or temperature 0.7", low(ordinary), len(ordinary)),
            share("ordinary runs with level low, temperature 1", low(hot), len(hot)),
            Figure(
                "AUROC, degenerate against ordinary at most at temperature 0.7",
                bootstrap(groups, lambda rows: auroc(scores[rows], positive[rows])),
            ),
        ],
    )


def of_wrong_answers(replays: Sequence[Replay]) -> Section:
    """AUROC for wrong short answers, by task, beside simple baselines."""
    answered = [one for one in replays if one.sample.label and one.sample.label.correct is not None]
    measures = {
        "risk, `rules`": score,
        "summed surprisal": lambda one: float(one.sample.columns["surprisal"].sum()),
        "mean surprisal": lambda one: float(one.sample.columns["surprisal"].mean()),
        "mean entropy": lambda one: float(one.sample.columns["entropy"].mean()),
        "length": lambda one: float(one.run.steps),
    }
    tasks: dict[str, list[Replay]] = {}
    for one in answered:
        tasks.setdefault(one.sample.prompt["task"], []).append(one)
    wrong_ones = sum(not one.sample.label.correct for one in answered if one.sample.label)
    enough = {}
    for task, runs in tasks.items():
        wrong = np.array([not one.sample.label.correct for one in runs if one.sample.label])
        if min(wrong.sum(), (~wrong).sum()) >= 5:
            enough[task] = runs, wrong
    rows = []
    for name, measure in measures.items():
        found = {task: auroc(np.array([measure(one) for one in runs]), wrong) for task, (runs, wrong) in enough.items()}
        spread = ", ".join(f"{task} {value:.2f}" for task, value in found.items())
        rows.append(Figure(name, f"{np.mean(list(found.values())):.3f} ({spread})"))
    return Section(
        "Wrong short answers: AUROC, mean over tasks",
        rows,
        [
            f"{len(answered)} answers, {wrong_ones} of them wrong; tasks with at least 5 of each kind. `rules` is made "
            "for failures of the generation and does not tell wrong answers: the figure stands here so that nobody "
            "expects it. Never pooled over tasks: a task's difficulty alone would look like skill."
        ],
    )
