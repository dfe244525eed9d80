"""What the warnings of entropy, margin, confidence and norms compare with.

Where the model has a baseline, that is a quantile of what its healthy runs did (`baseline`). Where it has none, it is
rough (`rough`): what the run itself did before, or a fraction of what its vocabulary allows. A number of bits alone is
usual for one model and out of reach for another. A number that somebody has set goes before both (`set`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from ..baselines.profile import Profile, Spread
from ..catalogue.verdicts import HIGH_ENTROPY_STEPS
from ..run import Run
from .thresholds import Thresholds

ThresholdSource = Literal["baseline", "rough", "set"]
"""Where a threshold comes from: what is usual for the model, a rough number, or whoever has set it."""

HIGH_STEP: Final = 0.99
"""Of a healthy model's steps so many have an entropy below that of a high one."""
USUAL_FRACTION: Final = round(1 - HIGH_STEP, 6)
"""Fraction of its steps that are high."""
UNUSUAL_FRACTION: Final = 10 * USUAL_FRACTION
"""Fraction of high steps above which a run is warned about, ..."""
FEWEST_HIGH: Final = 5
"""... and so many of them at least: a short run has as large a fraction by chance."""
RISEN: Final = 0.99
"""Quantile of the windows' median entropy above which `entropy_rising` warns."""
NARROW: Final = 0.001
"""Quantile of the windows' median margin below which `margin_collapsing` warns."""
UNSURE: Final = 0.001
"""Quantile of the windows' median top-1 probability below which `confidence_drop` warns."""
BEYOND_STEPS: Final = 4
"""Steps in a row at which a window has to be beyond such a quantile."""
OUTER: Final = (0.001, 0.999)
"""Quantiles of a layer's norm, and of the fraction of collapsed heads, beyond which warnings of them begin."""

ROUGH_ENTROPY_BITS: Final = 4.0
"""Entropy above which a step counts as high, where nobody knows what is usual. It warns of nothing: it is usual for
many models."""
ROUGH_FRACTION: Final = 0.9
"""Then a run is warned about if a larger fraction of its steps is above `rough_entropy` of the largest entropy."""
ROUGH_DEVIATIONS: Final = 1.0
"""Then `entropy_rising` needs a rise by so many standard deviations of the run's earlier steps, too."""
ASSUMED_VOCABULARY: Final = 32_768
"""Tokens of a model that does not say how many it has."""


class Bound(NamedTuple):
    """A number that something is compared with."""

    value: float
    source: ThresholdSource

    def evidence(self, value: float) -> dict[str, float | str]:
        """Return a number, what it was compared with, and where that comes from."""
        return {"value": round(value, 4), "threshold": round(self.value, 4), "threshold_source": self.source}


@dataclass(frozen=True, slots=True)
class WarningBounds:
    """What is usual for a model.

    Attributes:
        high_entropy: the entropy above which a step is high, bit.
        entropy, margin, top1_prob: of the median over a window of steps; None where no baseline knows it.
        collapsed: the fraction of collapsed heads; None likewise.
        log_norms: the lowest and the highest natural logarithm of each layer's norm; None likewise.
    """

    high_entropy: Bound
    entropy: Bound | None = None
    margin: Bound | None = None
    top1_prob: Bound | None = None
    collapsed: Bound | None = None
    log_norms: tuple[Sequence[float], Sequence[float]] | None = None

    @classmethod
    def of(cls, thresholds: Thresholds) -> "WarningBounds":
        """Return what is usual under these thresholds, with the baseline that they have."""
        profile, high = thresholds.profile, high_entropy(thresholds)
        if profile is None:
            return cls(high)
        return cls(
            high,
            entropy=_of_windows(profile, "entropy", RISEN),
            margin=_of_windows(profile, "margin", NARROW),
            top1_prob=_of_windows(profile, "top1_prob", UNSURE),
            collapsed=_of_windows(profile, "collapsed_share", OUTER[1]),
            log_norms=_log_norms(profile),
        )


def high_entropy(thresholds: Thresholds) -> Bound:
    """Return the entropy above which a step is high, bit."""
    if thresholds.high_entropy_bits is not None:
        return Bound(thresholds.high_entropy_bits, "set")
    known = None if thresholds.profile is None else thresholds.profile.signals.get("entropy")
    bits = None if known is None else _quantile(known.steps, HIGH_STEP)
    return Bound(ROUGH_ENTROPY_BITS, "rough") if bits is None else Bound(bits, "baseline")


def largest_entropy(vocabulary: int | None) -> float:
    """Return the entropy of a choice among all tokens of a vocabulary, each as probable as any other, bit."""
    return math.log2(max(2, vocabulary or ASSUMED_VOCABULARY))


def high_entropy_steps(run: Run, thresholds: Thresholds) -> dict[str, Any] | None:
    """Return how many steps of a run have a high entropy, with what it was compared with; None without logits."""
    entropy = run.column("entropy")
    if entropy is None:
        return None
    limit = high_entropy(thresholds)
    found = {
        "steps": int(np.sum(entropy > limit.value)),
        "threshold": round(limit.value, 4),
        "threshold_source": limit.source,
    }
    if limit.source == "rough":  # what the warning compares with is another number
        above = _warned_above(run, thresholds)
        found |= {"warning_steps": int(np.sum(entropy > above)), "warning_threshold": round(above, 4)}
    return found


def entropy_is_often_high(run: Run, thresholds: Thresholds) -> bool:
    """Return whether so many of a judged run's steps have a high entropy that it is warned about."""
    found = None if run.health is None else run.health.evidence.get(HIGH_ENTROPY_STEPS)
    if found is None:
        return False
    steps: int = found["steps"]
    if found["threshold_source"] == "baseline":
        return steps >= FEWEST_HIGH and steps > UNUSUAL_FRACTION * run.steps
    if found["threshold_source"] == "rough":
        return int(found["warning_steps"]) > ROUGH_FRACTION * run.steps
    return steps > thresholds.high_entropy_share * run.steps


def _warned_above(run: Run, thresholds: Thresholds) -> float:
    """Return the entropy above which nearly all steps are in a run that is warned about without a baseline, bit."""
    return thresholds.rough_entropy * largest_entropy(run.model.vocabulary_size)


def _of_windows(profile: Profile, signal: str, level: float) -> Bound | None:
    known = profile.signals.get(signal)
    value = None if known is None else _quantile(known.windows, level)
    return None if value is None else Bound(value, "baseline")


def _quantile(spread: Spread, level: float) -> float | None:
    value = float(spread.quantile(level)[0])
    return value if math.isfinite(value) else None


def _log_norms(profile: Profile) -> tuple[Sequence[float], Sequence[float]] | None:
    known = profile.layers.get("log2_norm")
    if known is None:
        return None
    low, high = (known.steps.quantile(level) * math.log(2) for level in OUTER)
    return np.nan_to_num(low, nan=-math.inf).tolist(), np.nan_to_num(high, nan=math.inf).tolist()
