"""Which rule tells the layer of a fault best, chosen on all models but the one that it is reported on.

A rule is what decides a run's number and where it began: the signals that count, the unit in which they are far out,
how they are balanced, how much longer runs may be further out, and from which fraction of the limit on a layer counts.
Balanced: some signals, and some layers, have heavier tails than others beyond any quantile, so that their excess alone
makes the limit and hides the others'. So each is divided by what only one in ten healthy runs reaches in it. `GRID` has
the candidates.

Every one gets its limit in the same way, as the conformal quantile of the numbers of the healthy runs that taught the
baseline, so all of them promise the same rate of false alarms; what is compared is how many faults they place rightly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import product
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.baselines import run_numbers
from opentelemetry_instrumentation_corevital.baselines.run_numbers import FEWEST_RUNS, NumberSample, limit_of
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows

from .excess import PAIRS, Floats, Pair, Scale, Stack, Unit, excess
from .lessons import OUTER, Lesson

_OUTPUT: Final[tuple[Pair, ...]] = tuple(
    (view, signal) for view in ("windows", "maxima") for signal in ("log2_gain", "layer_transformation")
)


def _medians(*signals: str) -> tuple[Pair, ...]:
    return tuple(("windows", signal) for signal in signals)


_ENTROPY: Final = (*_OUTPUT, *_medians("attention_entropy"))
_HEADS: Final = _medians("collapsed_head_rate")
_LARGEST_CHANGE: Final[tuple[Pair, ...]] = (("maxima", "attention_entropy_change"),)

SETS: Final[Mapping[str, tuple[Pair, ...]]] = {
    "output": _OUTPUT,
    "output, entropy": _ENTROPY,
    "output, entropy, collapsed heads": (*_ENTROPY, *_HEADS),
    "output, entropy, change": (*_ENTROPY, *_medians("attention_entropy_change")),
    "output, entropy, largest change": (*_ENTROPY, *_LARGEST_CHANGE),
    "output, entropy, collapsed heads, largest change": (*_ENTROPY, *_HEADS, *_LARGEST_CHANGE),
    "output, entropy, spread over heads": (*_ENTROPY, *_medians("attention_entropy_std")),
    "output, entropy, largest weight": (*_ENTROPY, *_medians("attention_max_weight")),
    "output, entropy, first keys": (*_ENTROPY, *_medians("attention_mass_sink")),
    "medians of all but the norm": tuple(pair for pair in PAIRS if pair[0] == "windows" and pair[1] != "log2_norm"),
    "all but the norm": tuple(pair for pair in PAIRS if pair[1] != "log2_norm"),
}
"""What a layer adds to the residual stream, by windows' medians and largest values, and what its attention does."""
FRACTIONS: Final = (0.25, 1.0)
LEAST: Final = 1 / 256
LEAST_OF: Final = (("collapsed_head_rate", 0.1),)
"""A few heads are not far out where nearly none ever collapsed."""
LOGARITHMS: Final[tuple[tuple[str, ...], ...]] = ((), ("layer_transformation",))
"""What falls to 0 where a layer stops to do anything is not far from what is usual, but its logarithm is."""
PER_DOUBLING: Final = (0.0, 1 / 16)
SHARES: Final = (1.0, 0.7)
Balance = Literal["none", "signals", "layers"]
BALANCES: Final[tuple[Balance, ...]] = ("none", "signals", "layers")
REACHED: Final = 0.9
"""Quantile of the healthy runs' worst excess by which signals, or layers of signals, are balanced ..."""
_LEAST_REACHED: Final = 0.25
"""... which counts as so much at least."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to get a run's number, and where it began."""

    name: str
    counted: tuple[Pair, ...]
    unit: Unit
    per_doubling: float
    share: float
    """Fraction of the limit from which a layer counts when it is looked for where it began."""
    balance: Balance = "none"

    @property
    def places(self) -> list[int]:
        """Return which of `excess.PAIRS` count."""
        return [PAIRS.index(pair) for pair in self.counted]

    def differences(self, other: "Rule") -> int:
        """Return in how many ways it is another rule; each signal more or less is one."""
        signals = len(set(self.counted) ^ set(other.counted))
        mine, theirs = (
            (*astuple(each.unit)[:3], each.unit.logarithms, each.per_doubling, each.share, each.balance)
            for each in (self, other)
        )
        return signals + sum(one != another for one, another in zip(mine, theirs, strict=True))

    def text(self) -> str:
        """Return it for a reader."""
        return (
            f"{self.name}; unit {self.unit.level:g} quantile, at least {self.unit.fraction:g} of the layers' median; "
            f"log2 of {', '.join(self.unit.logarithms) or 'none'}; "
            f"{self.per_doubling:.3g} per doubling; from {self.share:g} of the limit; balanced: {self.balance}"
        )


def shipped() -> Rule:
    """Return the product's rule: the one place that knows where its numbers stand."""
    rule = run_numbers.RULE
    unit = Unit(
        run_numbers.LEVELS[0],
        rule.least_fraction,
        rule.least_otherwise,
        tuple(rule.least.items()),
        tuple(sorted(rule.logarithms)),
    )
    return Rule("as shipped", tuple(rule.counted), unit, rule.per_doubling, 1.0)


GRID: Final = tuple(
    Rule(name, counted, Unit(level, fraction, LEAST, LEAST_OF, logarithms), per_doubling, share, balance)
    for level, fraction, logarithms, (name, counted), per_doubling, share, balance in product(
        OUTER, FRACTIONS, LOGARITHMS, SETS.items(), PER_DOUBLING, SHARES, BALANCES
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
    """A trial in one unit: the worst excess of each run [runs, pairs, layers], and the faults' windows.

    Attributes:
        numbers: of the runs that taught, each measured by what was known before it.
        runs: in the baseline that measured each of these [runs].
        number_windows: windows of each of these [runs].
        healthy: of the runs that are judged.
        fault_windows: [windows, pairs, layers].
    """

    numbers: Floats
    runs: NDArray[np.intp]
    number_windows: NDArray[np.intp]
    healthy: Floats
    fault_windows: Floats

    def balance(self, how: Balance) -> Floats:
        """Return what excesses are divided by [pairs, layers or 1]."""
        if how == "none" or not len(self.numbers):
            return np.ones((len(PAIRS), 1), np.float32)
        settled = self.runs >= FEWEST_RUNS
        numbers = self.numbers[settled] if settled.sum() >= FEWEST_RUNS else self.numbers
        if how == "signals":
            numbers = numbers.max(2, keepdims=True)
        return np.maximum(np.quantile(numbers, REACHED, axis=0), _LEAST_REACHED).astype(np.float32)


def tried(trial: Trial, lesson: Lesson, rules: Sequence[Rule] | None = None) -> list[Tried]:
    """Return what each rule does with what was learned; without rules, `all_rules()` is tried."""
    rules = all_rules() if rules is None else rules
    by_unit: dict[Unit, list[int]] = {}
    for number, rule in enumerate(rules):
        by_unit.setdefault(rule.unit, []).append(number)
    found = [Tried()] * len(rules)
    for unit, numbers in by_unit.items():
        measured = measured_with(trial, lesson, unit)
        for number in numbers:
            found[number] = _outcome(trial, measured, rules[number])
    return found


def measured_with(trial: Trial, lesson: Lesson, unit: Unit) -> Measured:
    """Return how far out all runs are by what was learned: those that taught by what was known before them."""
    worst, runs, windows = [], [], []
    for number, ruler in enumerate(lesson.rulers):
        mine = sorted((run, measured) for run, with_ruler, measured in lesson.measured if with_ruler == number)
        if not mine:
            continue
        some = trial.taught.of([run for run, _ in mine])
        worst.append(some.worst(excess(some, Scale.of(ruler, unit, trial.rows))))
        runs += [measured for _, measured in mine]
        windows.append(some.counts)
    scale = Scale.of(lesson.ruler, unit, trial.rows)
    return Measured(
        np.concatenate(worst) if worst else np.zeros((0, len(PAIRS), trial.rows.layers), np.float32),
        np.array(runs, np.intp),
        np.concatenate(windows) if windows else np.zeros(0, np.intp),
        trial.healthy.worst(excess(trial.healthy, scale)),
        excess(trial.faults, scale),
    )


def _outcome(trial: Trial, measured: Measured, rule: Rule) -> Tried:
    pairs = rule.places
    balance = measured.balance(rule.balance)[pairs]
    limit = limit_by(measured, rule)
    alarms, found = 0, trial.told
    if limit is not None:
        healthy = (measured.healthy[:, pairs] / balance).max((1, 2))
        alarms = int((healthy > limit * longer(trial.healthy.counts, rule)).sum())
        began = first_layers(trial.faults, (measured.fault_windows[:, pairs] / balance).max(1), limit, rule)
        found = np.where(trial.told >= 0, trial.told, began)
    return Tried(int((found == trial.layers).sum()), len(trial.layers), alarms, trial.healthy.runs)


def limit_by(measured: Measured, rule: Rule) -> float | None:
    """Return the conformal limit of the runs' numbers, as a learned baseline would; None of too few."""
    balanced = measured.numbers[:, rule.places] / measured.balance(rule.balance)[rule.places]
    values = balanced.max((1, 2)) / longer(measured.number_windows, rule)
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


def choose(models: Iterable[Sequence[Tried]], rules: Sequence[Rule], most: float = 0.02) -> int:
    """Return the rule, by its number, that places most faults rightly on some models.

    Of those within one standard error of the best it is the one that is most like the first rule, which ships: what
    cannot be told apart is no reason for a change.

    Args:
        models: what every rule did on each of them, in the same order.
        rules: these rules.
        most: fraction of the healthy runs that may be beyond the limit, where a rule keeps to it at all: between the
            promises of a baseline of 50 runs and of 200, which count alike.
    """
    sums = [sum(each, Tried()) for each in zip(*models, strict=True)]
    rates = [one.alarms / max(1, one.healthy) for one in sums]
    quiet = [number for number, rate in enumerate(rates) if rate <= max(most, min(rates))]
    best, faults = max(sums[number].right for number in quiet), max(1, sums[0].faults)
    error = (best * (faults - best) / faults) ** 0.5
    good = [number for number in quiet if sums[number].right >= best - error]
    return min(good, key=lambda number: (rules[number].differences(rules[0]), -sums[number].right, number))
