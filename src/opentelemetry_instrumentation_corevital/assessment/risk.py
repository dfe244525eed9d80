"""Risk of a run, method `rules`: a score from definite failures and from the fraction of high-entropy steps.

score = min(1, worst + 0.5 x high-entropy steps / steps), where the worst raised flag counts the weight that
the catalogue gives it: 1 where a value was NaN or infinite, and then the entropy, a consequence, does not count. The
other raised flags are factors of 0: the worst one covers them.
"""

import math
from typing import Final

from ..catalogue.verdicts import FLAGS, HIGH_ENTROPY_SHARE
from ..run import Risk, RiskLevel, Run
from .ending import failed_by_numbers
from .thresholds import DEFAULT, Thresholds

METHOD: Final = "rules"
FLAG_RISK: Final = {flag.name: flag.weight for flag in FLAGS}
ENTROPY_FRACTION_WEIGHT: Final = 0.5
SCORE_DIGITS: Final = 6
"""Of a score, and of one so far. They are rounded as they are made, so that every carrier has the same number."""


def judge_risk(run: Run, thresholds: Thresholds = DEFAULT) -> Risk | None:
    """Compute the risk from the run's health; None where nothing was measured that could have lowered it."""
    health = run.health
    factors: list[tuple[str, float]] = []
    if health is not None:
        raised = sorted(health.raised(), key=lambda flag: -FLAG_RISK[flag])
        factors += [(flag, 0.0 if place else FLAG_RISK[flag]) for place, flag in enumerate(raised)]
        if health.high_entropy_steps and run.steps and not failed_by_numbers(run):
            fraction = min(1.0, health.high_entropy_steps / run.steps)
            factors.append((HIGH_ENTROPY_SHARE, ENTROPY_FRACTION_WEIGHT * fraction))
    if not factors and (run.column("entropy") is None or not run.steps):
        return None
    score = round(min(1.0, math.fsum(value for _, value in factors)), SCORE_DIGITS)
    factors.sort(key=lambda factor: -factor[1])
    return Risk(score=score, level=risk_level(score, thresholds), factors=tuple(factors), method=METHOD)


def risk_level(score: float, thresholds: Thresholds = DEFAULT) -> RiskLevel:
    """Return the level of a score: low < 0.3 <= medium < 0.7 <= high."""
    if score >= thresholds.risk_high:
        return "high"
    return "medium" if score >= thresholds.risk_medium else "low"
