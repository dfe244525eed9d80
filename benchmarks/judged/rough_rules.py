"""The warnings of a run without a baseline, each as one number: the limit at which the run would just be warned about.

So a limit can be chosen on some models and held against the runs of another one: the one that at most `SHARE` of the
ordinary runs cross. What ships is what is chosen on all of them, rounded to the quiet side. Beside each rule stands the
absolute number that it replaced, where there was one.

Faults are those that change the output and leave all numbers finite. `setting_in` puts a fault that is there from the
first token behind the beginning of a healthy run, as one that appears in a service does: what compares a run with its
own beginning can see it only there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.deviation import cut_off, first_nonfinite
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT
from opentelemetry_instrumentation_corevital.assessment.usual import (
    BEYOND_STEPS,
    ROUGH_DEVIATIONS,
    ROUGH_ENTROPY_BITS,
    ROUGH_FRACTION,
    largest_entropy,
)
from opentelemetry_instrumentation_corevital.baselines.profiled_signals import collapsed_fractions
from opentelemetry_instrumentation_corevital.run import Run

Floats = NDArray[np.float64]
Number = Callable[[Run], float]

SHARE: Final = 0.01
"""Of the ordinary runs of the models on which a limit is chosen: so many may cross it."""
BEFORE_FAULT: Final = 40
"""Steps of a healthy run before a fault that sets in."""
_CONFUSED: Final = 8
_LAST, _EARLIER, _LEAST_STEPS = slice(-16, None), slice(1, -16), 48


@dataclass(frozen=True, slots=True)
class RoughRule:
    """A warning without a baseline.

    Attributes:
        name: of the warning.
        what: its limit is a limit of.
        shipped: the limit.
        number: of a run, the limit at which it would just be warned about; negative where low is unusual.
        absolute, absolute_number: the absolute limit that it replaced, of another number; None: it replaced none.
    """

    name: str
    what: str
    shipped: float
    number: Number
    absolute: float | None = None
    absolute_number: Number | None = None


@dataclass(frozen=True, slots=True)
class RoughNumbers:
    """The numbers of a model's runs by a rule, and by the absolute one before it."""

    healthy: Floats
    faults: Floats
    setting_in: Floats


def measured(healthy: Sequence[Run], faults: Sequence[Run], setting_in: Sequence[Run]) -> dict[str, RoughNumbers]:
    """Return the numbers of each rule by its name, and of the absolute ones by `absolute NAME`."""
    found = {}
    groups = (healthy, faults, setting_in)
    for rule in RULES:
        for name, number in ((rule.name, rule.number), (f"absolute {rule.name}", rule.absolute_number)):
            if number is not None:
                found[name] = RoughNumbers(*(np.array([number(run) for run in runs], float) for runs in groups))
    return found


def chosen(numbers: Sequence[Floats]) -> float:
    """Return the limit that at most `SHARE` of the runs of some models cross."""
    ordered = np.sort(np.concatenate(numbers))[::-1]
    return float(ordered[int(SHARE * len(ordered))])


def setting_in(healthy: Sequence[Run], faults: Sequence[Run]) -> list[Run]:
    """Return runs that begin as a healthy one, each another, and go on with a fault."""
    long = [run for run in healthy if run.steps > BEFORE_FAULT and run.decoding.strategy == "sample"]
    return [_joined(long[place % len(long)], run) for place, run in enumerate(faults)] if long else []


def _joined(first: Run, then: Run) -> Run:
    names = first.columns.keys() & then.columns.keys()
    columns = {name: np.concatenate([first.columns[name][:BEFORE_FAULT], then.columns[name]]) for name in names}
    return replace(then, tokens=np.concatenate([first.tokens[:BEFORE_FAULT], then.tokens]), columns=columns)


# --- windows as they go on ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Windows:
    """The mean of each window, and count, mean and deviation of what is before it."""

    mean: Floats
    count: Floats
    before: Floats
    deviation: Floats


def _windows(values: Floats, size: int) -> _Windows:
    sums, squares = (np.concatenate([[0.0], np.cumsum(each)]) for each in (values, values * values))
    begin = np.arange(len(values) - size + 1)
    mean = (sums[begin + size] - sums[begin]) / size
    count = np.maximum(begin, 1)
    before = sums[begin] / count
    return _Windows(mean, begin, before, np.sqrt(np.maximum(0.0, squares[begin] / count - before * before)))


def _lasting(numbers: Floats, steps: int = BEYOND_STEPS) -> float:
    """Return the largest number that is reached at so many places in a row; -inf of too few."""
    if len(numbers) < steps:
        return -np.inf
    return float(np.lib.stride_tricks.sliding_window_view(numbers, steps).min(1).max())


def _column(run: Run, name: str) -> Floats:
    values = cut_off(run, first_nonfinite(run)).columns[name].astype(float)
    return np.asarray(values[np.isfinite(values)])


def _of_windows(run: Run, name: str) -> _Windows:
    return _windows(_column(run, name), DEFAULT.window)


# --- the rules ---------------------------------------------------------------------------------------------------


def _entropy_of_nearly_all(run: Run) -> float:
    """Return the largest entropy that all but one in ten steps are above, bit."""
    entropy = np.nan_to_num(run.columns["entropy"].astype(float), nan=-np.inf)
    return float(np.sort(entropy)[::-1][int(ROUGH_FRACTION * len(entropy))]) if len(entropy) else -np.inf


def _part_of_largest(run: Run) -> float:
    return _entropy_of_nearly_all(run) / largest_entropy(run.model.vocabulary_size)


def _rise(run: Run) -> float:
    windows = _of_windows(run, "entropy")
    rise = windows.mean - windows.before
    room = largest_entropy(run.model.vocabulary_size) - windows.before
    needed = np.maximum(DEFAULT.entropy_rise_bits, ROUGH_DEVIATIONS * windows.deviation)
    counts = (windows.count >= DEFAULT.base_steps) & (rise > needed)
    return _lasting(np.where(counts, rise / room, -np.inf))


def _rise_in_bits(run: Run) -> float:
    windows = _of_windows(run, "entropy")
    rise = windows.mean - windows.before
    counts = (windows.count >= DEFAULT.base_steps) & (rise > 2 * windows.deviation)
    return _lasting(np.where(counts, rise, -np.inf), 1)


def _margin_of_top1(run: Run) -> float:
    margin, top1 = (_of_windows(run, name).mean for name in ("margin", "top1_prob"))
    return _lasting(-margin / top1)


def _margin(run: Run) -> float:
    return _lasting(-_of_windows(run, "margin").mean, 1)


def _top1_of_earlier(run: Run) -> float:
    windows = _of_windows(run, "top1_prob")
    with np.errstate(divide="ignore", invalid="ignore"):
        return _lasting(np.where(windows.count >= DEFAULT.base_steps, -windows.mean / windows.before, -np.inf))


def _top1_with_deviations(run: Run) -> float:
    windows = _of_windows(run, "top1_prob")
    falls = windows.before - windows.mean > 1.5 * windows.deviation
    counts = (windows.count >= DEFAULT.base_steps) & falls
    with np.errstate(divide="ignore", invalid="ignore"):
        return _lasting(np.where(counts, -windows.mean / windows.before, -np.inf), 1)


def _collapsing(run: Run) -> float:
    windows = _of_heads(run)
    if windows is None:
        return -np.inf
    if len(windows.mean) < BEYOND_STEPS:
        return -np.inf
    least = np.lib.stride_tricks.sliding_window_view(windows.mean, BEYOND_STEPS).min(1)
    first = slice(0, len(least))  # windows in a row are held against what was before the first of them
    rise = least - windows.before[first]
    beyond = rise > DEFAULT.collapse_deviations * windows.deviation[first]
    counts = (windows.count[first] >= DEFAULT.collapse_steps) & beyond
    return float(np.where(counts, rise, -np.inf).max())


def _collapsing_since_the_first(run: Run) -> float:
    windows = _of_heads(run)
    return -np.inf if windows is None else float((windows.mean - windows.mean[0]).max())


def _of_heads(run: Run) -> _Windows | None:
    fractions = collapsed_fractions(run)
    if fractions is None:
        return None
    known = np.asarray(fractions, float)[: first_nonfinite(run)]
    known = known[np.isfinite(known)]
    return _windows(known, DEFAULT.collapse_steps) if len(known) >= DEFAULT.collapse_steps else None


def _confused(run: Run) -> float:
    """Return the margin that so many steps of a window with a high entropy have."""
    entropy, margin = _column(run, "entropy"), _column(run, "margin")
    if len(entropy) < _CONFUSED:
        return -np.inf
    high = entropy > max(ROUGH_ENTROPY_BITS, float(entropy.mean()))
    windows = np.lib.stride_tricks.sliding_window_view(np.where(high, margin, -np.inf), _CONFUSED)
    return float(np.sort(windows, axis=1)[:, -DEFAULT.confusion_steps].max())


def _degenerating(run: Run) -> float:
    """Return by how much of what is needed entropy and surprisal rise at the end, where the margin falls enough."""
    entropy, surprisal, margin = (_column(run, name) for name in ("entropy", "surprisal", "margin"))
    if len(entropy) < _LEAST_STEPS:
        return -np.inf
    now, before = ([float(each[part].mean()) for each in (entropy, surprisal, margin)] for part in (_LAST, _EARLIER))
    if now[2] >= DEFAULT.degenerating_margin_share * before[2]:
        return -np.inf
    needed = DEFAULT.degenerating_entropy_bits, DEFAULT.degenerating_surprisal_bits
    return min((now[at] - before[at]) / needed[at] for at in (0, 1))


RULES: Final[tuple[RoughRule, ...]] = (
    RoughRule(
        "high_entropy_share",
        "the largest entropy of the vocabulary, which nearly all steps are above",
        DEFAULT.rough_entropy,
        _part_of_largest,
        ROUGH_ENTROPY_BITS,
        _entropy_of_nearly_all,
    ),
    RoughRule(
        "entropy_rising",
        "the way from the earlier mean entropy to the largest",
        DEFAULT.rough_entropy_rise,
        _rise,
        1.5,
        _rise_in_bits,
    ),
    RoughRule(
        "margin_collapsing",
        "the top-1 probability that the margin is",
        -DEFAULT.margin_collapsed,
        _margin_of_top1,
        -0.02,
        _margin,
    ),
    RoughRule(
        "confidence_drop",
        "the earlier mean top-1 probability",
        -DEFAULT.rough_confidence,
        _top1_of_earlier,
        -0.5,
        _top1_with_deviations,
    ),
    RoughRule(
        "attention_collapsing",
        "heads that collapse beyond the earlier mean",
        DEFAULT.collapse_warning,
        _collapsing,
        0.08,
        _collapsing_since_the_first,
    ),
    RoughRule("confident_confusion", "the margin while the entropy is high", DEFAULT.confusion_margin, _confused),
    RoughRule("degenerating_generation", "the rises that it needs", 1.0, _degenerating),
)
"""All but those of repetition, and `norm_jump`, which rests on single steps: the zoo keeps windows of most runs."""
