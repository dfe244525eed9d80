"""Risk of a run, method `rules`: a score from definite failures and from the fraction of high-entropy steps.

score = min(1, worst + entropy), where the worst raised flag counts the weight that the catalogue gives it: 1 where a
value was NaN or infinite, and then the entropy, a consequence, does not count. The other raised flags are factors of 0:
the worst one covers them.

entropy = 0.5 x (high-entropy steps / steps - the fraction that is usual for the model), at least 0. That fraction is
1 % for a model with a baseline, since such steps are above its 99 % quantile. Where nothing is known of the model it is
0, and the entropy counts 0.25 at most: alone it never makes the level medium. Where the threshold was set it is 0, too.
"""

import math
from typing import Final

from ..catalogue.verdicts import FLAGS, HIGH_ENTROPY_SHARE, HIGH_ENTROPY_STEPS
from ..run import Risk, RiskLevel, Run
from .ending import failed_by_numbers
from .thresholds import DEFAULT, Thresholds
from .usual import USUAL_FRACTION, ThresholdSource

METHOD: Final = "rules"
FLAG_RISK: Final = {flag.name: flag.weight for flag in FLAGS}
ENTROPY_FRACTION_WEIGHT: Final = 0.5
MOST_OF_ROUGH_ENTROPY: Final = 0.25
"""That the entropy counts where the model has no baseline: below the level `medium`."""
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
            source = health.evidence.get(HIGH_ENTROPY_STEPS, {}).get("threshold_source", "set")
            part = entropy_part(health.high_entropy_steps, run.steps, source)
            if part:
                factors.append((HIGH_ENTROPY_SHARE, part))
    if not factors and (run.column("entropy") is None or not run.steps):
        return None
    score = round(min(1.0, math.fsum(value for _, value in factors)), SCORE_DIGITS)
    factors.sort(key=lambda factor: -factor[1])
    return Risk(score=score, level=risk_level(score, thresholds), factors=tuple(factors), method=METHOD)


def entropy_part(high: int, steps: int, source: ThresholdSource) -> float:
    """Return what high-entropy steps add to the risk.

    Args:
        high: how many there are.
        steps: of the run.
        source: where the entropy comes from above which a step is high.
    """
    usual = USUAL_FRACTION if source == "baseline" else 0.0
    part = ENTROPY_FRACTION_WEIGHT * max(0.0, min(1.0, high / steps) - usual)
    return min(part, MOST_OF_ROUGH_ENTROPY) if source == "rough" else part


def risk_level(score: float, thresholds: Thresholds = DEFAULT) -> RiskLevel:
    """Return the level of a score: low < 0.3 <= medium < 0.7 <= high."""
    if score >= thresholds.risk_high:
        return "high"
    return "medium" if score >= thresholds.risk_medium else "low"
