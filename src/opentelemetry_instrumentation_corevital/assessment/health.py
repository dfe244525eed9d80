"""Health flags: what is definitely wrong with a run, each with the numbers that say so."""

from typing import Any

import numpy as np

from ..run import Health, Run
from .repetition import Repetition, RepetitionDetector
from .thresholds import DEFAULT, Thresholds


def judge_health(run: Run, thresholds: Thresholds = DEFAULT) -> Health:
    """Judge the flags that logits and tokens allow."""
    absent: dict[str, str] = {}
    nan = _first_nonzero(run, "logits_nan")
    inf = _infinity(run)
    found = {"nan_detected": nan, "inf_detected": inf}
    evidence: dict[str, dict[str, Any]] = {name: numbers for name, numbers in found.items() if numbers}
    measured = run.column("logits_nan") is not None
    if not measured:
        reason = run.absent.get("nonfinite", "logits were not measured")
        absent.update(nan_detected=reason, inf_detected=reason, high_entropy_steps=reason)
    loop = _loop(run, thresholds)
    if loop is not None:
        evidence["repetition_loop_detected"] = loop.evidence()
    entropy = run.column("entropy")
    return Health(
        nan_detected=bool(nan) if measured else None,
        inf_detected=bool(inf) if measured else None,
        repetition_loop_detected=loop is not None,
        high_entropy_steps=None if entropy is None else int(np.sum(entropy > thresholds.high_entropy_bits)),
        evidence=evidence,
        absent=absent,
    )


def _first_nonzero(run: Run, column: str) -> dict[str, int]:
    counts = run.column(column)
    if counts is None or not counts.any():
        return {}
    step = int(np.flatnonzero(counts)[0])
    return {"step": step, "logits": int(counts[step]), "steps": int(np.count_nonzero(counts))}


def _infinity(run: Run) -> dict[str, int]:
    """Return the first step with an infinity that is a fault.

    Models mask vocabulary entries with -Inf: the same number of them at every step, and never all, is such a mask.
    """
    found = _first_nonzero(run, "logits_posinf")
    negative = run.column("logits_neginf")
    if found or negative is None or not negative.any():
        return found
    vocabulary = run.model.vocabulary_size
    whole = vocabulary is not None and int(negative.max()) >= vocabulary
    if int(negative.min()) == int(negative.max()) and not whole:
        return {}
    return _first_nonzero(run, "logits_neginf")


def _loop(run: Run, thresholds: Thresholds) -> Repetition | None:
    """Return the loop that was still going on when the run was cut off; one that it left or ended is no failure."""
    if run.finish_reason == "stop":
        return None
    detector = RepetitionDetector(thresholds)
    last = None
    for token in run.tokens.tolist():
        last = detector.update(token)
    return last if last is not None and last.loop else None
