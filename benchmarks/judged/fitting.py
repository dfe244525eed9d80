"""What is chosen on one half of the run set: the loop's thresholds and the coefficients of `failure_risk`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds

from .replay import Replay

WINDOWS = (20, 24, 28, 32)
SHARES = (0.55, 0.80)


def loop_thresholds(replays: Sequence[Replay]) -> str:
    """Try windows and counts.

    The best has the largest min(recall, precision), to two decimals, and of those the fewest ordinary runs in which a
    loop is told.
    """
    half = [one for one in replays if one.sample.half == "fit" and one.sample.prompt["class"] != "repeat"]
    lines, ranked = [], []
    for window in WINDOWS:
        for count in range(int(window * SHARES[0]), int(window * SHARES[1]) + 1):
            recall, precision, looped = tried(half, replace(DEFAULT, loop_window=window, loop_recurring=count))
            ranked.append((round(min(recall, precision), 2), -looped, window, count))
            scores = f"recall {recall:.3f}, precision {precision:.3f}, ordinary runs that loop {looped}"
            lines.append(f"{count} of {window}: {scores}")
    best = max(ranked)
    return "\n".join([*lines, f"best: {best[3]} of {best[2]}"])


def tried(half: Sequence[Replay], thresholds: Thresholds) -> tuple[float, float, int]:
    """Return recall and precision of the flag, and in how many ordinary runs a loop is told at some step."""
    hits = misses = alarms = looped = 0
    for one in half:
        detector, last, ever = RepetitionDetector(thresholds), None, False
        for token in one.sample.tokens.tolist():
            last = detector.update(token)
            ever |= last is not None and last.loop
        flagged = last is not None and last.loop and not one.sample.stopped
        if one.sample.degenerate:
            hits, misses = hits + flagged, misses + (not flagged)
        else:
            alarms, looped = alarms + flagged, looped + ever
    return hits / max(1, hits + misses), hits / max(1, hits + alarms), looped


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
