"""From labelled runs of a model to its own answer risk.

The fit begins with the shipped coefficients, and a ridge holds it there: few labels move it little. The ridge is the
strongest under which runs that were left out are about as likely as under the best one. Then Platt's scaling turns the
log-odds of left-out runs into probabilities. What is said of the result was measured on runs that had no part in any of
it, prompts kept together.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.answer_model import AnswerModel, Term
from ..evaluation.score_blocks import FloatMatrix, FloatVector, Truths
from .forecasts import Quality, gain_interval, quality
from .logistic_regression import fit_logistic, log_losses, platt_scaling

METHOD: Final = "labels-1"
FEWEST_OF_EACH_OUTCOME: Final = 20
FEWEST_PROMPTS: Final = 5
"""As many as there are folds."""
FURTHER: Final = ("entropy_mean", "entropy_window", "entropy_first")
"""Features that a model's own regression may use though the shipped one does not: from one model to another their level
differs too much."""
STRENGTHS: Final = (10.0, 30.0, 100.0, 300.0, 1000.0, 1e6)
"""Of the ridge, of standardised features; the last leaves the shipped coefficients as they are."""
FEWEST_FOR_PLATT: Final = 50
LONGEST: Final = 512
"""Tokens of an answer, however many labelled ones are longer."""
_FOLDS: Final = 5
_TIE: Final = 1e-3
"""Of the intercept: it is free, but where one fold has one outcome only."""
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class FittedAnswer:
    """A model's own answer risk, and what it has over the shipped one on runs that neither was fitted on."""

    model: AnswerModel
    strength: float
    """Of the ridge towards the shipped coefficients."""
    used: NDArray[np.bool_]
    """Which of the runs it was fitted on: not those that are longer than it judges."""
    shipped: Quality
    own: Quality
    """Out of fold."""
    gain: tuple[float, float]
    """95 % interval of the gain in AUROC: by task where `auroc_by_task` is known, else of all runs."""

    @property
    def worse(self) -> bool:
        """Whether it is no better than the shipped one: in Brier score, or in AUROC beyond chance."""
        return self.own.brier > self.shipped.brier or self.gain[1] < 0


def fit_answer(
    features: Mapping[str, FloatVector],
    wrong: Truths,
    prompts: Sequence[str],
    tokens: NDArray[np.int64],
    shipped: AnswerModel,
    tasks: Sequence[str | None] | None = None,
) -> FittedAnswer:
    """Fit a model's own answer risk.

    Args:
        features: by name, each [n], at least those of the shipped model.
        wrong: whether each answer was wrong [n].
        prompts: what each answers [n]: runs of one prompt are left out together.
        tokens: how long each answer is [n].
        shipped: the model whose coefficients it begins with.
        tasks: the task of each run, as far as it is known [n].

    Raises:
        ValueError: for too few runs of an outcome, or prompts.
    """
    most_tokens = most_tokens_of(tokens, wrong, shipped.most_tokens)
    used = tokens <= most_tokens
    names = [term.feature for term in shipped.terms]
    names += [name for name in FURTHER if name in features and name not in names]
    table = np.column_stack([features[name][used] for name in names])
    means, scales = _standard(table, shipped)
    inputs = np.column_stack([np.ones(len(table)), (table - means) / scales])
    prior = np.zeros(inputs.shape[1])
    prior[: len(shipped.terms) + 1] = [shipped.intercept, *(term.coefficient for term in shipped.terms)]
    right_or_wrong = wrong[used]
    groups = _numbered([prompt for prompt, taken in zip(prompts, used, strict=True) if taken])
    _check(right_or_wrong, groups)
    coefficients, strength = _fitted(inputs, right_or_wrong, groups, prior)
    of_shipped, of_own = inputs @ prior, _out_of_fold(inputs, right_or_wrong, groups, prior)
    named = None if tasks is None else [task for task, taken in zip(tasks, used, strict=True) if taken]
    return FittedAnswer(
        _model(names, table, (means, scales), coefficients, shipped, most_tokens),
        strength,
        used,
        quality(of_shipped, right_or_wrong, named),
        quality(of_own, right_or_wrong, named),
        gain_interval(of_shipped, of_own, right_or_wrong, groups, named),
    )


def most_tokens_of(tokens: NDArray[np.int64], wrong: Truths, shipped: int) -> int:
    """Return how long an answer may be: longer than the shipped limit where enough labelled ones of each outcome are.

    Then it is what 99 % of the labelled answers stay within, at most `LONGEST`.
    """
    longer = tokens > shipped
    if min((longer & wrong).sum(), (longer & ~wrong).sum()) < FEWEST_OF_EACH_OUTCOME:
        return shipped
    return max(shipped, min(LONGEST, int(np.quantile(tokens, 0.99))))


def _check(wrong: Truths, groups: NDArray[np.intp]) -> None:
    of_each = (int((~wrong).sum()), int(wrong.sum()))
    if min(of_each) < FEWEST_OF_EACH_OUTCOME:
        raise ValueError(f"{of_each[0]} correct and {of_each[1]} wrong; {FEWEST_OF_EACH_OUTCOME} of each are needed")
    prompts = len(np.unique(groups))
    if prompts < FEWEST_PROMPTS:
        raise ValueError(f"they answer {prompts} prompts; {FEWEST_PROMPTS} are needed")


def _fitted(
    inputs: FloatMatrix, wrong: Truths, groups: NDArray[np.intp], prior: FloatVector
) -> tuple[FloatVector, float]:
    """Return the coefficients of log-odds that are scaled as probabilities, and the strength that was chosen."""
    tried = {strength: _left_out(inputs, wrong, groups, prior, strength) for strength in STRENGTHS}
    strength = _strongest({each: log_losses(odds, wrong.astype(np.float64)) for each, odds in tried.items()})
    coefficients = _regression(inputs, wrong, prior, strength)
    if len(wrong) >= FEWEST_FOR_PLATT:
        slope, offset = platt_scaling(tried[strength], wrong)
        if slope > 0:  # else what was fitted says nothing of runs that were left out
            coefficients = coefficients * slope
            coefficients[0] += offset
    return coefficients, strength


def _strongest(losses: Mapping[float, FloatVector]) -> float:
    """Return the strongest ridge whose losses [n] are within a standard error of the least ones.

    With few labels the least loss is often chance. The rule is that of Breiman and others (1984), "Classification and
    Regression Trees", section 3.4.3, with the error of the paired differences.
    """
    least = min(losses.values(), key=lambda each: float(each.sum()))
    more = {strength: each - least for strength, each in losses.items()}
    return max(strength for strength, each in more.items() if each.mean() <= each.std(ddof=1) / np.sqrt(len(each)))


def _left_out(
    inputs: FloatMatrix, wrong: Truths, groups: NDArray[np.intp], prior: FloatVector, strength: float
) -> FloatVector:
    """Return the log-odds of each run by the others of its outcome's fold [n]."""
    found, folds = np.empty(len(wrong)), _folds(groups, wrong)
    for fold in range(_FOLDS):
        out = folds == fold
        found[out] = inputs[out] @ _regression(inputs[~out], wrong[~out], prior, strength)
    return found


def _out_of_fold(inputs: FloatMatrix, wrong: Truths, groups: NDArray[np.intp], prior: FloatVector) -> FloatVector:
    """Return the log-odds of each run by a model that was chosen, fitted and scaled without its fold [n]."""
    found, folds = np.empty(len(wrong)), _folds(groups, wrong)
    for fold in range(_FOLDS):
        out = folds == fold
        found[out] = inputs[out] @ _fitted(inputs[~out], wrong[~out], groups[~out], prior)[0]
    return found


def _regression(inputs: FloatMatrix, wrong: Truths, prior: FloatVector, strength: float) -> FloatVector:
    penalties = np.full(len(prior), strength)
    penalties[0] = _TIE
    return fit_logistic(inputs, wrong.astype(np.float64), prior, penalties)


def _folds(groups: NDArray[np.intp], wrong: Truths) -> NDArray[np.intp]:
    """Return the fold of each run [n]: prompts in the order of how often they were answered wrong, dealt in turn."""
    present, places = np.unique(groups, return_inverse=True)
    rates = np.bincount(places, wrong) / np.bincount(places)
    folds = np.empty(len(present), np.intp)
    folds[np.lexsort((present, rates))] = np.arange(len(present)) % _FOLDS
    return folds[places]


def _numbered(prompts: Sequence[str]) -> NDArray[np.intp]:
    """Return a number for each prompt: in an order that says nothing of them, and is the same each time."""
    mixed = sorted(set(prompts), key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
    places = {prompt: place for place, prompt in enumerate(mixed)}
    return np.array([places[prompt] for prompt in prompts], np.intp)


def _standard(table: FloatMatrix, shipped: AnswerModel) -> tuple[FloatVector, FloatVector]:
    """Return mean and scale of each feature: the shipped ones, of further features those of the runs."""
    means, scales = table.mean(0), table.std(0)
    means[: len(shipped.terms)] = [term.mean for term in shipped.terms]
    scales[: len(shipped.terms)] = [term.scale for term in shipped.terms]
    return means, np.where(scales > 0, scales, 1.0)


def _model(
    names: Sequence[str],
    table: FloatMatrix,
    standard: tuple[FloatVector, FloatVector],
    coefficients: FloatVector,
    shipped: AnswerModel,
    most_tokens: int,
) -> AnswerModel:
    """Return the model; its support is that of the shipped one and the labelled runs.

    Of a feature that the shipped one lacks, a standard deviation beyond these is in it, too: some runs to come are a
    little beyond the few that are labelled.
    """
    known = {term.feature: term for term in shipped.terms}
    terms = []
    for place, (name, values) in enumerate(zip(names, table.T, strict=True)):
        mean, scale = (float(each[place]) for each in standard)
        low, high = float(values.min()), float(values.max())
        term = known.get(name)
        terms.append(
            Term(
                feature=name,
                mean=_rounded(mean),
                scale=_rounded(scale),
                coefficient=_rounded(float(coefficients[place + 1])),
                lowest=low - scale if term is None else min(low, term.lowest),
                highest=high + scale if term is None else max(high, term.highest),
            )
        )
    return AnswerModel(
        method=METHOD,
        intercept=_rounded(float(coefficients[0])),
        terms=tuple(terms),
        most_tokens=most_tokens,
        runs=len(table),
        models=1,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
