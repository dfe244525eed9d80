"""Figures of pairs: medians, and bootstrap intervals."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..config import SUMMARY_ATTENTION_EVERY
from .arms import ARMS
from .bench import CallSample
from .pairs import Pair

MIB = 2**20


def spread(values: Sequence[float], seed: int = 0, resamples: int = 10_000) -> dict[str, Any]:
    """Return the median, the 10th and 90th percentile, and a bootstrap 95 % confidence interval of the median."""
    array = np.asarray(values)
    chosen = np.random.default_rng(seed).integers(0, len(array), (resamples, len(array)))
    low, high = np.percentile(np.median(array[chosen], axis=1), (2.5, 97.5))
    return {
        "median": round(float(np.median(array)), 5),
        "p10": round(float(np.percentile(array, 10)), 5),
        "p90": round(float(np.percentile(array, 90)), 5),
        "ci95": [round(float(low), 5), round(float(high), 5)],
    }


def typical_step(steps: Sequence[float], period: int = SUMMARY_ATTENTION_EVERY) -> float:
    """Return the time of a step without the outliers, but with what happens on every `period`-th step only.

    One median over all steps would not see the attention of `summary` at all; so every phase of the period has its
    own median, and the phases' mean is returned.
    """
    return statistics.fmean(statistics.median(steps[phase::period]) for phase in range(min(period, len(steps))))


def ratios(pairs: Sequence[Pair], of: Callable[[CallSample], float]) -> dict[str, Any]:
    """Return the spread of the paired ratios of a quantity."""
    return spread([of(sample) / of(plain) for sample, plain in pairs])


def added(pairs: Sequence[Pair], of: Callable[[CallSample], float], scale: float) -> dict[str, Any]:
    """Return the spread of the paired differences of a quantity."""
    return spread([scale * (of(sample) - of(plain)) for sample, plain in pairs])


def rest(sample: CallSample) -> float:
    """Return the time after the last token: the end of the run and of the span."""
    return sample.wall - sample.first - sample.decode


def step(sample: CallSample) -> float:
    """Return the time of a typical step."""
    return typical_step(sample.steps)


def same_tokens(sample: CallSample, plain: CallSample) -> bool:
    """Return whether two calls gave the same tokens."""
    return bool((sample.tokens == plain.tokens).all())


def figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return an arm's figures."""
    samples = [sample for sample, _ in pairs]
    found = {
        "pairs": len(pairs),
        **absolute(samples),
        "call": ratios(pairs, lambda sample: sample.wall),
        "cpu": ratios(pairs, lambda sample: sample.cpu),
        "first": ratios(pairs, lambda sample: sample.first),
        "added_ms": added(pairs, lambda sample: sample.wall, 1e3),
        "added_ms_to_first_token": added(pairs, lambda sample: sample.first, 1e3),
        "added_ms_after_last_token": added(pairs, rest, 1e3),
        "sending_ms": round(1e3 * statistics.median(sample.sending for sample in samples), 3),
        "spans_per_call": sum(sample.spans for sample in samples) / len(samples),
        "log_records_per_call": sum(sample.logs for sample in samples) / len(samples),
        "pairs_with_the_same_tokens": sum(same_tokens(sample, plain) for sample, plain in pairs),
        "not_watched": samples[-1].absent,
    }
    if samples[0].steps:
        found |= {"step": ratios(pairs, step), "decode": ratios(pairs, lambda sample: sample.decode)}
    if samples[0].peak:
        found["added_mib"] = added(pairs, lambda sample: sample.peak, 1 / MIB)
    return found


def absolute(samples: Sequence[CallSample]) -> dict[str, Any]:
    """Return medians of what calls took."""
    tokens = samples[0].tokens.shape[1]
    return {
        "ms_per_token": round(1e3 * statistics.median(sample.wall for sample in samples) / tokens, 4),
        "first_ms": round(1e3 * statistics.median(sample.first for sample in samples), 3),
        "step_ms": round(1e3 * statistics.median(map(step, samples)), 4) if samples[0].steps else None,
        "peak_mib": round(statistics.median(sample.peak for sample in samples) / MIB, 2),
    }


def raw(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """Return what every call of every pair took, so that every figure can be computed again."""
    quantities: dict[str, Callable[[CallSample], float]] = {
        "wall_s": lambda sample: sample.wall,
        "cpu_s": lambda sample: sample.cpu,
        "first_s": lambda sample: sample.first,
        "decode_s": lambda sample: sample.decode,
        "peak_bytes": lambda sample: sample.peak,
    }
    if pairs[0][0].steps:
        quantities["step_s"] = step
    return {
        f"{whose}{name}": [round(of(pair[index]), 6) for pair in pairs]
        for name, of in quantities.items()
        for index, whose in enumerate(("", "plain_"))
    }


def outcome(pairs: Mapping[str, Sequence[Pair]]) -> dict[str, Any]:
    """Return the figures of the plain calls, each counted once, and of every arm."""
    plain = {id(reference): reference for arm in pairs.values() for _, reference in arm}
    return {
        "plain": absolute(list(plain.values())),
        "arms": {name: {"label": ARMS[name].label, **figures(found)} for name, found in pairs.items()},
    }
