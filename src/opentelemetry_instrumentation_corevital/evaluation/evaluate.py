"""Every figure of every score, by model and task, and as the mean over these groups, with intervals by prompt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np

from .labelled_answers import ANSWER, BASE_RATE, FORECASTS, SCORES, Answers, enough, left_out_of, together
from .ranking import concordance
from .rejection import rejection, risk_coverage
from .reliability import ReliabilityBin, briers, calibration_errors, perfect_errors, reliability
from .resampling import DRAWS, Figure, figure, numbered, prompt_weights
from .score_blocks import FloatMatrix, FloatVector, ScoreBlocks, Truths, ones, ratio

FIGURES: Final[Mapping[str, str]] = {
    "auroc": "AUROC",
    "prr": "PRR",
    "aurc": "AURC",
    "e_aurc": "E-AURC",
    "auroc_same_length": "AUROC, matched",
    "auroc_half": "AUROC, half",
    "answer_ahead": "answer risk ahead",
    "ece": "ECE",
    "brier": "Brier score",
    "brier_skill": "Brier skill",
}
"""Figure -> its heading. Matched are pairs of equally many tokens, half is at half the tokens, and how far the answer
risk is ahead is in AUROC. The last three are of probabilities. docs/evaluate.md defines all."""
ALL_TASKS: Final = "all tasks"
_CENTRED: Final = frozenset({"ece"})

Drawn = dict[tuple[str, str], FloatVector]
"""(score, figure) -> its value in each draw."""


@dataclass(frozen=True, slots=True)
class PerfectForecaster:
    """The calibration error of one whose probabilities these are, and who is right."""

    mean: float
    q95: float
    """Which 95 % of the draws stay within."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The figures of one group, or of the mean over groups."""

    model: str | None
    """None: the mean over groups."""
    task: str | None
    runs: int
    wrong: int
    prompts: int
    groups: int
    """How many groups it is the mean of; 1 for a group that counts in it, 0 for one that does not."""
    left_out: Mapping[str, int]
    """Reason -> labelled runs of it that are in no figure."""
    scores: Mapping[str, Mapping[str, Figure]]
    """Score -> figure -> its value; what is not known is not there."""
    perfect: Mapping[str, PerfectForecaster]
    """By score."""
    bins: Sequence[ReliabilityBin] = ()
    """Of the answer risk."""
    curves: Mapping[str, FloatMatrix] | None = None
    """Score -> coverage and risk [points, 2]."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found."""

    groups: tuple[Evaluated, ...]
    """Each model and task."""
    models: tuple[Evaluated, ...]
    """Each model with all of its tasks together."""
    mean: Evaluated | None
    """Over the groups that count; None where none does."""
    draws: int
    seed: int


def evaluate(groups: Sequence[Answers], *, draws: int = DRAWS, seed: int = 0) -> Evaluation:
    """Return the figures of groups, by model and task in the order of their names, and their mean.

    Args:
        groups: one per model and task.
        draws: of prompts, of all groups together: one that several of them answer comes and goes with all.
        seed: of the draws.

    Raises:
        ValueError: where there is no group.
    """
    groups = sorted(groups, key=lambda each: (each.model, each.task))
    of_model = {model: list(parts) for model, parts in groupby(groups, key=lambda each: each.model)}
    pooled = [_pooled(parts) for parts in of_model.values() if len(parts) > 1]
    drawn = _drawn([*groups, *pooled], draws, seed)
    counted = _counted(groups)
    found = [
        _evaluated(each, values, draws, seed, counts=place in counted or place >= len(groups))
        for place, (each, values) in enumerate(zip([*groups, *pooled], drawn, strict=True))
    ]
    mean = _mean([(groups[at], found[at], drawn[at]) for at in counted], draws, seed)
    of_groups, several = found[: len(groups)], {each.model: each for each in found[len(groups) :]}
    alone = {each.model: replace(each, task=ALL_TASKS) for each in of_groups}
    return Evaluation(tuple(of_groups), tuple({**alone, **several}[model] for model in of_model), mean, draws, seed)


def _pooled(parts: Sequence[Answers]) -> Answers:
    """Return the answers of a model to all tasks: those with an answer risk, if any has one."""
    return together([each for each in parts if ANSWER in each.scores] or parts, ALL_TASKS)


def _counted(groups: Sequence[Answers]) -> list[int]:
    """Return which groups the mean is of: those with enough of both outcomes and, if any has one, an answer risk."""
    places = [place for place, each in enumerate(groups) if enough(each.wrong)]
    judged = [place for place in places if ANSWER in groups[place].scores]
    return judged or places


def _drawn(groups: Sequence[Answers], draws: int, seed: int) -> list[Drawn]:
    """Return the figures of each group in each draw."""
    prompts = numbered([prompt for each in groups for prompt in each.prompts])
    bounds = np.cumsum([0, *(len(each.wrong) for each in groups)])
    parts: list[list[Drawn]] = [[] for _ in groups]
    for weights in prompt_weights(prompts, draws, seed):
        for place, each in enumerate(groups):
            parts[place].append(_figures(each, weights[:, bounds[place] : bounds[place + 1]]))
    return [{key: np.concatenate([some[key] for some in each]) for key in each[0]} for each in parts]


def _figures(answers: Answers, weights: FloatMatrix) -> Drawn:
    """Return all figures of a group in each draw of these weights."""
    found: Drawn = {}
    for name, scores in _scores(answers):
        blocks = ScoreBlocks.of(scores, answers.wrong, weights)
        areas = rejection(blocks)
        found[name, "auroc"] = concordance(blocks)
        found[name, "prr"], found[name, "aurc"], found[name, "e_aurc"] = areas.prr, areas.aurc, areas.e_aurc
        matched = ScoreBlocks.of(scores, answers.wrong, weights, answers.tokens)
        found[name, "auroc_same_length"] = concordance(matched)
        if name in FORECASTS:
            found[name, "ece"] = calibration_errors(scores, answers.wrong, weights)
            found[name, "brier"], found[name, "brier_skill"] = briers(scores, answers.wrong, weights)
        if name == BASE_RATE:
            found |= _of_base_rate(answers.wrong, weights)
    for name, scores, known in _halves(answers):
        blocks = ScoreBlocks.of(scores[known], answers.wrong[known], weights[:, known])
        found[name, "auroc_half"] = concordance(blocks)
    if ANSWER in answers.scores:
        for name, _ in _scores(answers):
            if name != ANSWER:
                found[name, "answer_ahead"] = found[ANSWER, "auroc"] - found[name, "auroc"]
    return found


def _of_base_rate(wrong: Truths, weights: FloatMatrix) -> Drawn:
    """Return what is true of the base rate of each draw by its definition."""
    base = ratio(weights @ wrong.astype(np.float64), weights.sum(1))
    none = np.zeros(len(base))
    return {(BASE_RATE, "ece"): none, (BASE_RATE, "brier"): base * (1 - base), (BASE_RATE, "brier_skill"): none}


def _scores(answers: Answers) -> Iterator[tuple[str, FloatVector]]:
    """Yield each score of a group, in the order of `SCORES`."""
    base = np.full(len(answers.wrong), answers.wrong.mean())
    for name in SCORES:
        if name == BASE_RATE:
            yield name, base
        elif name in answers.scores:
            yield name, answers.scores[name]


def _halves(answers: Answers) -> Iterator[tuple[str, FloatVector, Truths]]:
    """Yield each score at half the tokens, with the runs of which all are known; nothing where these are too few."""
    if not answers.half:
        return
    known = np.isfinite(np.array(list(answers.half.values()))).all(0)
    if enough(answers.wrong[known]):
        for name, scores in answers.half.items():
            yield name, scores, known


def _evaluated(answers: Answers, drawn: Drawn, draws: int, seed: int, *, counts: bool) -> Evaluated:
    itself = _figures(answers, ones(len(answers.wrong)))
    forecast = answers.scores.get(ANSWER)
    return Evaluated(
        model=answers.model,
        task=answers.task,
        runs=len(answers.wrong),
        wrong=int(answers.wrong.sum()),
        prompts=len(set(answers.prompts)),
        groups=int(counts),
        left_out=answers.left_out,
        scores=_with_intervals({key: float(value[0]) for key, value in itself.items()}, drawn),
        perfect={name: _perfect(each) for name, each in _perfect_draws(answers, draws, seed).items()},
        bins=() if forecast is None else tuple(reliability(forecast, answers.wrong)),
        curves={name: risk_coverage(scores, answers.wrong) for name, scores in _scores(answers)},
    )


def _perfect_draws(answers: Answers, draws: int, seed: int) -> dict[str, FloatVector]:
    named = ((name, scores) for name, scores in _scores(answers) if name in FORECASTS)
    return {name: perfect_errors(scores, draws, seed) for name, scores in named}


def _perfect(errors: FloatVector) -> PerfectForecaster:
    return PerfectForecaster(float(errors.mean()), float(np.quantile(errors, 0.95)))


def _with_intervals(values: Mapping[tuple[str, str], float], drawn: Drawn) -> dict[str, dict[str, Figure]]:
    found: dict[str, dict[str, Figure]] = {}
    for (score, name), value in values.items():
        known = figure(value, drawn[score, name], centred=name in _CENTRED)
        if known is not None:
            found.setdefault(score, {})[name] = known
    return {score: {name: each[name] for name in FIGURES if name in each} for score, each in found.items()}


def _mean(parts: Sequence[tuple[Answers, Evaluated, Drawn]], draws: int, seed: int) -> Evaluated | None:
    """Return the mean over groups of the figures that all of them have; None where there is no group."""
    if not parts:
        return None
    groups, found, drawn = zip(*parts, strict=True)
    keys = [key for key in drawn[0] if all(key[1] in each.scores.get(key[0], {}) for each in found)]
    values = {key: float(np.mean([each.scores[key[0]][key[1]].value for each in found])) for key in keys}
    means = {key: np.mean([each[key] for each in drawn], axis=0) for key in keys}
    errors = [_perfect_draws(each, draws, seed + place) for place, each in enumerate(groups)]
    shared = [name for name in FORECASTS if all(name in each for each in errors)]
    return Evaluated(
        model=None,
        task=None,
        runs=sum(each.runs for each in found),
        wrong=sum(each.wrong for each in found),
        prompts=len({prompt for each in groups for prompt in each.prompts}),
        groups=len(groups),
        left_out=left_out_of(groups),
        scores=_with_intervals(values, means),
        perfect={name: _perfect(np.mean([each[name] for each in errors], axis=0)) for name in shared},
    )
