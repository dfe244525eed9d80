"""Which rule tells the layer of a fault best, chosen on all models but the one that it is reported on.

A rule is what decides a run's number and where it began: the signals that count, the floors of their distances, how
much longer runs may be further out, and from which fraction of the limit on a layer counts. `GRID` has the candidates.
Every one gets its limit in the same way, as the conformal quantile of the numbers of the healthy runs that taught the
baseline, so all of them promise the same rate of false alarms; what is compared is how many faults they place rightly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.baselines import run_numbers
from opentelemetry_instrumentation_corevital.baselines.run_numbers import NumberSample, limit_of
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows

from .excess import PAIRS, Floats, Floor, Pair, Scale, Stack, excess
from .lessons import Lesson

_OUTPUT: Final[tuple[Pair, ...]] = tuple(
    (view, signal) for view in ("windows", "maxima") for signal in ("log2_gain", "layer_transformation")
)


def _medians(*signals: str) -> tuple[Pair, ...]:
    return tuple(("windows", signal) for signal in signals)


SETS: Final[Mapping[str, tuple[Pair, ...]]] = {
    "output": _OUTPUT,
    "medians of the output": _medians("log2_gain", "layer_transformation"),
    "output, entropy": (*_OUTPUT, *_medians("attention_entropy")),
    "output, entropy, collapsed heads": (*_OUTPUT, *_medians("attention_entropy", "collapsed_head_rate")),
    "output, change of entropy": (*_OUTPUT, *_medians("attention_entropy_change")),
    "output, entropy, change": (*_OUTPUT, *_medians("attention_entropy", "attention_entropy_change")),
    "output, entropy, change, collapsed heads": (
        *_OUTPUT,
        *_medians("attention_entropy", "attention_entropy_change", "collapsed_head_rate"),
    ),
    "output, entropy, spread over heads": (*_OUTPUT, *_medians("attention_entropy", "attention_entropy_std")),
    "output, entropy, largest weight": (*_OUTPUT, *_medians("attention_entropy", "attention_max_weight")),
    "output, entropy, first keys": (*_OUTPUT, *_medians("attention_entropy", "attention_mass_sink")),
    "medians of all but the norm": tuple(pair for pair in PAIRS if pair[0] == "windows" and pair[1] != "log2_norm"),
    "all but the norm": tuple(pair for pair in PAIRS if pair[1] != "log2_norm"),
}
"""What a layer adds to the residual stream, by windows' medians and largest values, and what its attention does."""
FRACTIONS: Final = (0.1, 0.25, 0.5, 1.0)
LEASTS: Final = (1 / 256, 1 / 64)
PER_DOUBLING: Final = (0.0, 1 / 16, 1 / 8)
SHARES: Final = (1.0, 0.8, 0.6)


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to get a run's number, and where it began."""

    name: str
    counted: tuple[Pair, ...]
    floor: Floor
    per_doubling: float
    share: float
    """Fraction of the limit from which a layer counts when it is looked for where it began."""

    def text(self) -> str:
        """Return it for a reader."""
        return (
            f"{self.name}; floors {self.floor.fraction:g} and {self.floor.least:.3g}; "
            f"{self.per_doubling:.3g} per doubling; from {self.share:g} of the limit"
        )


def shipped() -> Rule:
    """Return the product's rule."""
    return Rule(
        "as shipped",
        tuple(run_numbers.COUNTED),
        Floor(run_numbers._LEAST_FRACTION, run_numbers._LEAST),
        run_numbers._PER_DOUBLING,
        1.0,
    )


GRID: Final = tuple(
    Rule(name, counted, Floor(fraction, least), per_doubling, share)
    for fraction, least, (name, counted), per_doubling, share in product(
        FRACTIONS, LEASTS, SETS.items(), PER_DOUBLING, SHARES
    )
)


def all_rules() -> tuple[Rule, ...]:
    """Return what ships, and the candidates."""
    return (shipped(), *GRID)


@dataclass(frozen=True, slots=True)
class Tried:
    """What a rule does on a model: counts of runs."""

    right: int = 0
    faults: int = 0
    alarms: int = 0
    healthy: int = 0

    def __add__(self, other: "Tried") -> "Tried":
        """Return the sum."""
        return Tried(
            self.right + other.right,
            self.faults + other.faults,
            self.alarms + other.alarms,
            self.healthy + other.healthy,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """The runs of a model, on which rules are tried.

    Attributes:
        rows: which row of a baseline is whose.
        taught: windows of the runs that may teach, by their number.
        healthy: of those that are judged.
        faults: of the runs with a fault.
        layers: layer of each fault [runs].
        told: the layer in which values were not finite first, -1 where all were finite [runs].
    """

    rows: TableRows
    taught: Stack
    healthy: Stack
    faults: Stack
    layers: NDArray[np.intp]
    told: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Measured:
    """A trial under one floor: the worst of each run by pair [runs, pairs], and the faults' windows."""

    numbers: Floats
    runs: NDArray[np.intp]
    """In the baseline that measured each of these [runs]."""
    number_windows: NDArray[np.intp]
    healthy: Floats
    faults: Floats
    fault_windows: Floats


def tried(trial: Trial, lesson: Lesson, rules: Sequence[Rule] | None = None) -> list[Tried]:
    """Return what each rule does with what was learned; without rules, `all_rules()` is tried."""
    rules = all_rules() if rules is None else rules
    by_floor: dict[Floor, list[int]] = {}
    for number, rule in enumerate(rules):
        by_floor.setdefault(rule.floor, []).append(number)
    found = [Tried()] * len(rules)
    for floor, numbers in by_floor.items():
        measured = measured_with(trial, lesson, floor)
        for number in numbers:
            found[number] = _outcome(trial, measured, rules[number])
    return found


def measured_with(trial: Trial, lesson: Lesson, floor: Floor) -> Measured:
    """Return how far out all runs are by what was learned: those that taught by what was known before them."""
    worst, runs, windows = [], [], []
    for number, ruler in enumerate(lesson.rulers):
        mine = sorted((run, measured) for run, with_ruler, measured in lesson.measured if with_ruler == number)
        if not mine:
            continue
        some = trial.taught.of([run for run, _ in mine])
        worst.append(some.worst(excess(some, Scale.of(ruler, floor, trial.rows)).max(2)))
        runs += [measured for _, measured in mine]
        windows.append(some.counts)
    scale = Scale.of(lesson.ruler, floor, trial.rows)
    faults = excess(trial.faults, scale)
    none = np.zeros((0, len(PAIRS)), np.float32)
    return Measured(
        np.concatenate(worst) if worst else none,
        np.array(runs, np.intp),
        np.concatenate(windows) if windows else np.zeros(0, np.intp),
        trial.healthy.worst(excess(trial.healthy, scale).max(2)),
        trial.faults.worst(faults.max(2)),
        faults,
    )


def _outcome(trial: Trial, measured: Measured, rule: Rule) -> Tried:
    pairs = [PAIRS.index(pair) for pair in rule.counted]
    limit = limit_by(measured, pairs, rule)
    alarms, found = 0, trial.told
    if limit is not None:
        alarms = int((measured.healthy[:, pairs].max(1) > limit * longer(trial.healthy.counts, rule)).sum())
        began = first_layers(trial.faults, measured.fault_windows[:, pairs].max(1), limit, rule)
        found = np.where(trial.told >= 0, trial.told, began)
    return Tried(int((found == trial.layers).sum()), len(trial.layers), alarms, trial.healthy.runs)


def limit_by(measured: Measured, pairs: Sequence[int], rule: Rule) -> float | None:
    """Return the conformal limit of the runs' numbers, as a learned baseline would; None of too few."""
    values = measured.numbers[:, pairs].max(1) / longer(measured.number_windows, rule)
    known = (values.tolist(), measured.number_windows.tolist(), measured.runs.tolist())
    return limit_of(NumberSample.of(zip(range(len(values)), *known, strict=True)).values())


def longer(windows: NDArray[np.intp], rule: Rule) -> NDArray[np.float64]:
    """Return how much further out runs of so many windows may be."""
    return 1 + rule.per_doubling * np.log2(np.maximum(windows, 1))


def first_layers(stack: Stack, windows: Floats, limit: float, rule: Rule) -> NDArray[np.intp]:
    """Return the layer in which each run began to be beyond a limit; -1 where it is not [runs].

    That is the shallowest layer of the earliest window that is, in a run whose worst window is beyond the limit itself.

    Args:
        stack: of the runs.
        windows: the excess that counts [windows, layers].
        limit: of the run number.
        rule: says how the limit grows with the length, and from which fraction of it a layer counts.
    """
    limits = limit * longer(stack.counts, rule)
    beyond = stack.worst(windows).max(1) > limits
    out = (windows > rule.share * limits[stack.run][:, None]) & beyond[stack.run][:, None]
    at = np.flatnonzero(out.any(1))
    runs, first = np.unique(stack.run[at], return_index=True)
    found = np.full(stack.runs, -1)
    found[runs] = out[at[first]].argmax(1)
    return found


def choose(models: Iterable[Sequence[Tried]], most: float = 0.02) -> int:
    """Return the rule, by its number, that places most faults rightly on some models.

    Args:
        models: what every rule did on each of them, in the same order.
        most: fraction of the healthy runs that may be beyond the limit, where a rule keeps to it at all: between the
            promises of a baseline of 50 runs and of 200, which count alike.
    """
    sums = [sum(each, Tried()) for each in zip(*models, strict=True)]
    rates = [one.alarms / max(1, one.healthy) for one in sums]
    allowed = max(most, min(rates))
    ranked = [
        (-one.right, one.alarms, number)
        for number, (one, rate) in enumerate(zip(sums, rates, strict=True))
        if rate <= allowed
    ]
    return min(ranked)[2]
