"""What is chosen on one half of the run set: the loop's thresholds and the coefficients of `failure_risk`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from runset.store import Half

from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds

from .replay import Replay

WINDOWS = (20, 24, 28, 32)
SHARES = (0.55, 0.80)


@dataclass(frozen=True, slots=True)
class Tried:
    """What the flag does on a half, with some thresholds."""

    hits: int
    misses: int
    alarms: int
    """Ordinary runs with the flag."""
    looped: int
    """Ordinary runs in which a loop is told at some step."""

    @property
    def recall(self) -> float:
        """Return the share of the degenerate runs that have the flag."""
        return self.hits / max(1, self.hits + self.misses)

    @property
    def precision(self) -> float:
        """Return the share of the runs with the flag that are degenerate."""
        return self.hits / max(1, self.hits + self.alarms)


def loop_thresholds(replays: Sequence[Replay], half: Half = "fit", told: Callable[[str], None] = print) -> Thresholds:
    """Try windows and counts on a half.

    The best has the largest min(recall, precision), to two decimals, and of those the fewest ordinary runs in which a
    loop is told.
    """
    ranked = []
    for window in WINDOWS:
        for count in range(int(window * SHARES[0]), int(window * SHARES[1]) + 1):
            found = tried(replays, half, replace(DEFAULT, loop_window=window, loop_recurring=count))
            ranked.append((round(min(found.recall, found.precision), 2), -found.looped, window, count))
            scores = f"recall {found.recall:.3f}, precision {found.precision:.3f}, {found.looped} looped"
            told(f"{count} of {window}: {scores}")
    _, _, window, count = max(ranked)
    told(f"best on the half {half!r}: {count} of {window}")
    return replace(DEFAULT, loop_window=window, loop_recurring=count)


def tried(replays: Sequence[Replay], half: Half, thresholds: Thresholds) -> Tried:
    """Return what the flag does on the runs of a half that were not asked for repetition."""
    hits = misses = alarms = looped = 0
    for one in replays:
        if one.sample.half != half or one.sample.prompt["class"] == "repeat":
            continue
        detector, last, ever = RepetitionDetector(thresholds), None, False
        for token in one.sample.tokens.tolist():
            last = detector.update(token)
            ever |= last is not None and last.loop
        flagged = last is not None and last.loop and not one.sample.stopped
        if one.sample.degenerate:
            hits, misses = hits + flagged, misses + (not flagged)
        else:
            alarms, looped = alarms + flagged, looped + ever
    return Tried(hits, misses, alarms, looped)


def failure_risk(replays: Sequence[Replay]) -> str:
    """Fit the logistic regression of `assessment/failure_risk.py`."""
    half = [one for one in replays if one.sample.half == "fit" and one.run.steps]
    features = np.concatenate([np.stack((np.ones(one.run.steps), one.loops, one.recurring), 1) for one in half])
    flagged = np.concatenate([np.full(one.run.steps, float(one.flagged)) for one in half])
    weights = np.concatenate([np.full(one.run.steps, 1 / one.run.steps) for one in half])
    intercept, loop, recurring = logistic(features, flagged, weights)
    return f"failure_risk: intercept {intercept:.2f}, loop {loop:.2f}, recurring {recurring:.2f}"


def logistic(
    features: NDArray[np.float64], positive: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the coefficients of largest likelihood, by Newton's method, hardly penalised."""
    found = np.zeros(features.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-features @ found))
        slope = features.T @ (weights * (chance - positive)) + 1e-3 * found
        bend = (features * (weights * chance * (1 - chance))[:, None]).T @ features + 1e-3 * np.eye(len(found))
        found = found - np.linalg.solve(bend, slope)
    return found
