"""Models compared over the prompts that they have in common. Pure functions on rows of `runs`.

A difference is estimated per prompt, so that a prompt that was run often counts once, and what makes a prompt hard for
every model cancels out (the paired differences of Miller 2024, arXiv 2411.00640). The intervals are in `intervals.py`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .._internal.short_repr import short_repr
from ..catalogue.spelling import for_people
from .filters import FLAGS
from .intervals import FEWEST, ROUGH, Interval, Sample, paired_fraction, paired_t, two_fractions, welch, within
from .stored_run import RunSummary


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared."""

    name: str
    title: str
    unit: str
    value: Callable[[RunSummary], float | None]
    """Of a run; None where it was not measured or not judged."""
    fraction: bool = False
    """Whether values are 0 and 1, so that a mean is a fraction of the runs."""
    largest: float = math.inf
    """No value is larger, and none is below 0."""


def _flagged(run: RunSummary) -> float | None:
    judged = [getattr(run, flag) for flag in FLAGS]
    return None if judged.count(None) == len(judged) else float(any(judged))


def _flag(name: str) -> Callable[[RunSummary], float | None]:
    def value(run: RunSummary) -> float | None:
        raised = getattr(run, name)
        return None if raised is None else float(raised)

    return value


def _correct(run: RunSummary) -> float | None:
    return {"correct": 1.0, "incorrect": 0.0}.get(run.label or "")


def _fraction(name: str, title: str, value: Callable[[RunSummary], float | None]) -> Measure:
    return Measure(name, title, "", value, fraction=True, largest=1)


MEASURES: Final = (
    Measure("risk_score", "risk", "", lambda run: run.risk_score, largest=1),
    Measure("risk_answer", "answer risk", "", lambda run: run.risk_answer, largest=1),
    _fraction("flagged", "any flag", _flagged),
    *(_fraction(flag, for_people(flag), _flag(flag)) for flag in FLAGS),
    _fraction("correct", "labelled correct", _correct),
    Measure("entropy_mean", "entropy", "bit", lambda run: run.entropy_mean),
    Measure("surprisal_mean", "surprisal", "bit", lambda run: run.surprisal_mean),
    Measure("margin_mean", "margin", "", lambda run: run.margin_mean, largest=1),
    Measure("output_tokens", "tokens", "", lambda run: run.output_tokens),
    Measure("seconds", "duration", "s", lambda run: run.seconds),
)


# --- one model ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a measure is distributed over a model's runs; of a fraction only count and mean have a meaning."""

    count: int
    """Runs that have it."""
    mean: float
    minimum: float
    q10: float
    median: float
    q90: float
    maximum: float


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """What a model's runs show."""

    model: str
    runs: int
    prompts: int
    """Different prompts, of the runs whose prompt is known."""
    unknown_prompt: int
    """Runs without a prompt hash."""
    failed: int
    """Runs that ended with an error."""
    high_risk: int
    measures: dict[str, Distribution]
    """By name; what no run has is not there."""

    __repr__ = short_repr


def figures(model: str, runs: Sequence[RunSummary]) -> ModelFigures:
    """Return what a model's runs show."""
    keys = [prompt_of(run) for run in runs]
    spreads = {measure.name: spread(_values(measure, runs)) for measure in MEASURES}
    return ModelFigures(
        model,
        len(runs),
        len({key for key in keys if key is not None}),
        keys.count(None),
        sum(run.error_type is not None for run in runs),
        sum(run.risk_level == "high" for run in runs),
        {name: found for name, found in spreads.items() if found is not None},
    )


def spread(values: Sequence[float]) -> Distribution | None:
    """Return how values are distributed; None where there are none."""
    if not values:
        return None
    q = [float(each) for each in np.percentile(values, (0, 10, 50, 90, 100))]
    return Distribution(len(values), math.fsum(values) / len(values), *q)


def prompt_of(run: RunSummary) -> tuple[str | None, str] | None:
    """Return what tells prompts apart: hashes of a text and of decoded tokens are different things."""
    return None if run.prompt_hash is None else (run.prompt_hash_source, run.prompt_hash)


Groups = dict[str, list[RunSummary]]
"""The runs of each model, or experiment; those of the reference first."""


def in_common(groups: Mapping[str, Sequence[RunSummary]]) -> set[tuple[str | None, str]]:
    """Return the prompts that every model has run."""
    sets = [{key for run in runs if (key := prompt_of(run)) is not None} for runs in groups.values()]
    return set.intersection(*sets) if sets else set()


def only_shared(groups: Groups) -> Groups:
    """Return the runs of the prompts that every model has run."""
    common = in_common(groups)
    return {name: [run for run in runs if prompt_of(run) in common] for name, runs in groups.items()}


def _values(measure: Measure, runs: Iterable[RunSummary]) -> list[float]:
    return [float(value) for run in runs if (value := measure.value(run)) is not None]


# --- two models --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more of a measure a model has than the reference."""

    measure: str
    model: str
    reference: str
    mean: float
    """Of the model, over the units compared: each counts once."""
    reference_mean: float
    difference: float
    low: float | None
    """The interval's ends; None where there is none."""
    high: float | None
    units: int
    """Pairs of prompts; not in pairs: prompts or runs of the smaller side."""
    basis: str
    """`pairs`, one per prompt in common; `runs` of the only prompt in common; `prompts` where none is in common."""
    no_interval: str | None = None
    """Why there is no interval."""

    __repr__ = short_repr

    @property
    def rough(self) -> bool:
        """Return whether there is an interval over so few units that it is rough."""
        return self.low is not None and self.units < ROUGH

    @property
    def clear(self) -> bool:
        """Return whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def differences(
    model: str, runs: Sequence[RunSummary], reference: str, reference_runs: Sequence[RunSummary]
) -> list[Difference]:
    """Return how a model differs from the reference, for each measure of both but fractions that are 0 in both."""
    found = []
    for measure in MEASURES:
        ours, theirs = _by_prompt(measure, runs), _by_prompt(measure, reference_runs)
        made = _difference(measure, ours, theirs, model, reference)
        if made is not None and not (measure.fraction and made.mean == made.reference_mean == 0):
            found.append(made)
    return found


def compare_groups(groups: Groups) -> tuple[list[ModelFigures], list[Difference]]:
    """Return the figures of each model, and how the others differ from the first."""
    (reference, its_runs), *others = groups.items()
    found = [figures(name, runs) for name, runs in groups.items()]
    return found, [each for name, runs in others for each in differences(name, runs, reference, its_runs)]


Prompts = Mapping[object, Sequence[float]]


def _by_prompt(measure: Measure, runs: Iterable[RunSummary]) -> dict[object, list[float]]:
    """Return a measure's values by prompt; a run whose prompt is unknown is one of its own."""
    found: dict[object, list[float]] = defaultdict(list)
    for run in runs:
        value = measure.value(run)
        if value is not None:
            found[prompt_of(run) or run.span_id].append(float(value))
    return found


_UNITS: Final = {
    "pairs": ("prompt", "in common"),
    "runs": ("run", "of the prompt by each"),
    "prompts": ("prompt", "of each"),
}
"""By what a difference rests on: what there are several of, in words."""


def _difference(measure: Measure, ours: Prompts, theirs: Prompts, model: str, reference: str) -> Difference | None:
    if not ours or not theirs:
        return None
    common = [key for key in ours if key in theirs]
    if len(common) > 1:
        basis, a, b = "pairs", _means(ours, common), _means(theirs, common)
    elif common:  # all is about one prompt: its runs are the sample
        basis, a, b = "runs", np.asarray(ours[common[0]]), np.asarray(theirs[common[0]])
    else:
        basis, a, b = "prompts", _means(ours, ours), _means(theirs, theirs)
    units = min(len(a), len(b))
    mean, reference_mean = float(a.mean()), float(b.mean())
    low = high = why = None
    if units < FEWEST:
        what, of = _UNITS[basis]
        why = f"{units} {what}{'' if units == 1 else 's'} {of}, an interval needs {FEWEST}"
    else:
        ends = _interval(a, b, measure, in_pairs=basis == "pairs")
        if ends is None:
            why = "the same difference everywhere" if basis == "pairs" else "no spread on either side"
        else:
            low, high = ends
    return Difference(
        measure.name, model, reference, mean, reference_mean, mean - reference_mean, low, high, units, basis, why
    )


def _means(values: Prompts, keys: Iterable[object]) -> Sample:
    return np.asarray([math.fsum(values[key]) / len(values[key]) for key in keys])


def _interval(a: Sample, b: Sample, measure: Measure, *, in_pairs: bool) -> Interval | None:
    if measure.fraction:
        return paired_fraction(a - b) if in_pairs else two_fractions(a, b)
    ends = paired_t(a - b) if in_pairs else welch(a, b)
    return None if ends is None else within(ends, measure.largest)
