"""The answer risk: the probability that a short answer is wrong, by a logistic regression over the run's distributions.

It says nothing of whether the generation broke: that is the risk score (`risk.py`). Outside the runs that it was fitted
on (longer ones, or a feature beyond theirs) there is no probability, but the reason for that.
"""

import math
from collections.abc import Mapping
from typing import Final

from ..baselines.answer_model import AnswerModel, shipped
from ..run import AnswerRisk, Run
from .answer_features import answer_features
from .ending import failed_by_numbers
from .thresholds import Thresholds

DIGITS: Final = 6
"""Of a probability, as of the risk score: every carrier has the same number."""


def answer_model(thresholds: Thresholds) -> AnswerModel:
    """Return the model's own, fitted on its labelled runs, where its baseline profile has one; else the shipped one."""
    return thresholds.answer or shipped()


def judge_answer(run: Run, model: AnswerModel) -> AnswerRisk:
    """Return the probability that the run's answer is wrong, and how far each feature moved the log-odds."""
    if run.error_type is not None or failed_by_numbers(run):
        return _outside(model, "the run failed, so it has no answer")
    features = answer_features(run)
    return _outside(model, features) if isinstance(features, str) else answer_risk(features, run.steps, model)


def answer_risk(features: Mapping[str, float], tokens: int, model: AnswerModel) -> AnswerRisk:
    """Return the same of the features of a run with so many tokens."""
    if tokens > model.most_tokens:
        return _outside(model, f"longer than the answers that it was fitted on ({model.most_tokens} tokens)")
    for term in model.terms:
        if not term.lowest <= features[term.feature] <= term.highest:
            side = "below" if features[term.feature] < term.lowest else "above"
            return _outside(model, f"{term.feature} is {side} that of the answers that it was fitted on")
    moved = [(term.feature, term.moved(features[term.feature])) for term in model.terms]
    probability = round(_logistic(model.intercept + math.fsum(value for _, value in moved)), DIGITS)
    factors = tuple(sorted(moved, key=lambda each: -abs(each[1])))
    return AnswerRisk(probability=probability, support=True, method=model.method, factors=factors, reason=None)


def _outside(model: AnswerModel, reason: str) -> AnswerRisk:
    return AnswerRisk(probability=None, support=False, method=model.method, factors=(), reason=reason)


def _logistic(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, log_odds))))
