"""What labels of a model's own answers gain, by the fit that `corevital calibrate --labels` makes.

The coefficients that each fit begins with have seen nothing of the model. Answers to a question that is labelled are
not judged.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.answer_features import NAMES
from opentelemetry_instrumentation_corevital.baselines.answer_model import AnswerModel
from opentelemetry_instrumentation_corevital.calibration.answer_fit import fit_answer
from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc
from opentelemetry_instrumentation_corevital.evaluation.reliability import calibration_error

from .fitting import as_model, fit
from .left_out import probabilities, two_sided
from .table import Table, Vector

LABELS: Final = 100
DRAWS: Final = 20
FOLDS: Final = 5
_FEWEST_RIGHT_AND_WRONG: Final = 20

Judged = tuple[Table, Vector, Vector]
"""Answers, and their log-odds by the coefficients that have not seen the model and by the model's own."""


def figures(table: Table, draws: int = DRAWS) -> dict[str, Any]:
    """Return the gain of some labels, by model and as the mean over models, and what all labels do, out of fold."""
    models = sorted(set(table.model.tolist()))
    drawn = {name: [_compared(*each) for each in _draws(table, name, draws)] for name in models}
    means = {name: {key: float(np.mean([one[key] for one in some])) for key in some[0]} for name, some in drawn.items()}
    parts = [each for name in models for each in _out_of_fold(table, name)]
    wrong = np.concatenate([part.wrong for part, *_ in parts]) == 1
    return {
        "labels": LABELS,
        "draws": draws,
        "mean over models": {key: _rounded(np.mean([one[key] for one in means.values()])) for key in means[models[0]]},
        "by model": {name: {key: _rounded(value) for key, value in one.items()} for name, one in means.items()},
        "all labels, out of fold": {
            "answers": len(wrong),
            "calibration error without": _rounded(_error(np.concatenate([before for _, before, _ in parts]), wrong)),
            "calibration error with": _rounded(_error(np.concatenate([after for *_, after in parts]), wrong)),
        },
    }


def _compared(table: Table, before: Vector, after: Vector) -> dict[str, float]:
    """Return both in AUROC within tasks and over all of a model's answers, and in calibration error."""
    wrong, tasks = table.wrong == 1, [some for _, some in two_sided(table)]
    found = {}
    for name, odds in (("without", before), ("with", after)):
        found[f"AUROC within a task, {name}"] = float(np.mean([auroc(odds[some], wrong[some]) for some in tasks]))
        found[f"AUROC over all answers, {name}"] = auroc(odds, wrong)
        found[f"calibration error, {name}"] = _error(odds, wrong)
    return found


def _draws(table: Table, model: str, draws: int) -> Iterator[Judged]:
    """Yield the other answers of a model each time that some are labelled at random."""
    own, unseen = _parted(table, model)
    chance = np.random.default_rng(0)
    for _ in range(draws):
        labelled = np.zeros(len(own.wrong), bool)
        while _fewest(own.wrong[labelled]) < _FEWEST_RIGHT_AND_WRONG:
            labelled[:] = False
            labelled[chance.choice(len(labelled), LABELS, replace=False)] = True
        yield _judged(own, labelled, ~np.isin(own.question, own.question[labelled]), unseen)


def _out_of_fold(table: Table, model: str) -> Iterator[Judged]:
    """Yield the answers of a model fold by fold, each judged with the labels of all other folds."""
    own, unseen = _parted(table, model)
    questions = np.random.default_rng(0).permutation(np.unique(own.question))
    for fold in range(FOLDS):
        judged = np.isin(own.question, questions[fold::FOLDS])
        yield _judged(own, ~judged, judged, unseen)


def _parted(table: Table, model: str) -> tuple[Table, AnswerModel]:
    others = table.where(table.model != model)
    return table.where(table.model == model), as_model(fit(others), others)


def _judged(own: Table, labelled: NDArray[np.bool_], judged: NDArray[np.bool_], unseen: AnswerModel) -> Judged:
    some, rest = own.where(labelled), own.where(judged)
    features = dict(zip(NAMES, some.whole.T, strict=True))
    asked = [str(number) for number in some.question]
    found = fit_answer(features, some.wrong == 1, asked, some.tokens.astype(np.int64), unseen).model
    return rest, _log_odds(rest, unseen), _log_odds(rest, found)


def _log_odds(table: Table, model: AnswerModel) -> Vector:
    """Return the log-odds of answers by a model [n]."""
    features = table.features([term.feature for term in model.terms])
    moved = [term.moved(features[:, at]) for at, term in enumerate(model.terms)]  # type: ignore[arg-type]
    return np.asarray(model.intercept + np.sum(moved, axis=0))


def _error(log_odds: Vector, wrong: NDArray[np.bool_]) -> float:
    return calibration_error(probabilities(log_odds), wrong)


def _fewest(wrong: Vector) -> float:
    return min(wrong.sum(), len(wrong) - wrong.sum())


def _rounded(value: Any) -> float:
    return round(float(value), 4)
