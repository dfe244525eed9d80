"""What runs show over time, by model: risk, entropy, latency, levels and flags of each stretch of time.

Quantiles are those of the nearest rank, of risks in thousandths and of latencies in milliseconds.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._internal.short_repr import short_repr
from .filters import FLAGS, LEVELS, RunFilter
from .stored_run import RunSummary

MOST_STRETCHES: Final = 32
"""As few that a day has its hours and a month its days: of more, each has too few runs for a fraction of them."""
MOST_MODELS: Final = 5
"""Models that have a line of their own: the most frequent ones."""
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_SECOND_NS: Final = 10**9
_WIDTHS: Final = (
    *(1, 5, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY),
    *(364 * _DAY, 3640 * _DAY),
)
"""How long a stretch may be [s]."""
_MILLISECOND_NS: Final = 10**6

Thousandths = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stretches:
    """A range of time, cut into stretches of one length that begin at its multiples (UTC)."""

    since_ns: int
    until_ns: int
    """The first time that is not in it."""
    width_ns: int

    @classmethod
    def of(cls, since_ns: int, until_ns: int) -> "Stretches":
        """Return the finest cut of a range into no more than `MOST_STRETCHES`."""
        until_ns = max(until_ns, since_ns + 1)
        for seconds in _WIDTHS:
            width = seconds * _SECOND_NS
            if (until_ns - 1) // width - since_ns // width < MOST_STRETCHES:
                break
        return cls(since_ns, until_ns, width)

    @property
    def first(self) -> int:
        """Return the number of the first stretch: which multiple of the length it begins at."""
        return self.since_ns // self.width_ns

    @property
    def starts_ns(self) -> list[int]:
        """Return when each stretch begins; the first may begin before the range does."""
        return [n * self.width_ns for n in range(self.first, (self.until_ns - 1) // self.width_ns + 1)]


@dataclass(slots=True)
class Counts:
    """What there is of some runs. Counts of two parts add up to those of both (`add`)."""

    runs: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    """By flag: runs that have it."""
    judged: Counter[str] = field(default_factory=Counter)
    """By flag: runs of which it is known."""
    entropy_sum: float = 0.0
    entropy_runs: int = 0
    risks: list[Thousandths] = field(default_factory=list)
    """In thousandths."""
    latencies: list[Thousandths] = field(default_factory=list)
    """In milliseconds."""

    def add(self, other: "Counts") -> None:
        """Count those of other runs, too."""
        self.runs += other.runs
        self.levels.update(other.levels)
        self.raised.update(other.raised)
        self.judged.update(other.judged)
        self.entropy_sum += other.entropy_sum
        self.entropy_runs += other.entropy_runs
        self.risks += other.risks
        self.latencies += other.latencies


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How a number is distributed over runs."""

    runs: int
    """That have it."""
    median: float
    p90: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What some runs show together; None where no run has it."""

    runs: int
    levels: Mapping[str, int]
    """Runs by risk level; the others were not judged."""
    raised: Mapping[str, int]
    judged: Mapping[str, int]
    """Runs of which a flag is known, by flag."""
    risk: Quantiles | None
    seconds: Quantiles | None
    entropy: float | None
    """Mean of the runs' means [bit]."""

    __repr__ = short_repr

    @classmethod
    def of(cls, counts: Counts) -> "Figures":
        """Return what counts show."""
        return cls(
            counts.runs,
            {level: counts.levels[level] for level in LEVELS},
            {flag: counts.raised[flag] for flag in FLAGS},
            {flag: counts.judged[flag] for flag in FLAGS},
            _quantiles(counts.risks),
            _quantiles(counts.latencies),
            counts.entropy_sum / counts.entropy_runs if counts.entropy_runs else None,
        )

    def fraction(self, flag: str) -> float | None:
        """Return how many of the runs of which a flag is known have it; None where it is known of none."""
        return self.raised[flag] / self.judged[flag] if self.judged[flag] else None

    def fraction_high(self) -> float | None:
        """Return how many of the runs whose level is known have the level high; None where it is known of none."""
        known = sum(self.levels.values())
        return self.levels["high"] / known if known else None


@dataclass(frozen=True, slots=True)
class ModelSeries:
    """What the runs of a model show: together, and in each stretch that has any."""

    model: str | None
    """None: of runs whose model is unknown, and of `others`."""
    others: bool
    """Whether these are the runs of all models that have no series of their own."""
    total: Figures
    stretches: Mapping[int, Figures]
    """By number of the stretch, from 0."""

    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class FiguresOverTime:
    """What runs show over time."""

    starts_ns: list[int]
    """Unix time at which each stretch begins; none where there is no run."""
    width_ns: int
    total: Figures
    stretches: Mapping[int, Figures]
    """Of all models, by number of the stretch."""
    models: list[ModelSeries]
    """The most frequent first."""

    __repr__ = short_repr


Cells = Mapping[tuple[int, int], Counts]
"""By number of the stretch and place of the model among those that have a series; behind them: all others."""


def figures_over_time(stretches: Stretches, models: list[str | None], cells: Cells) -> FiguresOverTime:
    """Return what counts show, by stretch and model; counts are those of this source's runs."""
    total = Counts()
    by_stretch, by_model = defaultdict[int, Counts](Counts), defaultdict[int, Counts](Counts)
    for (number, place), counts in cells.items():
        by_stretch[number].add(counts)
        by_model[place].add(counts)
    for counts in by_model.values():
        total.add(counts)
    series = [
        ModelSeries(
            models[place] if place < len(models) else None,
            place >= len(models),
            Figures.of(by_model[place]),
            {number: Figures.of(counts) for (number, of), counts in sorted(cells.items()) if of == place},
        )
        for place in sorted(by_model)
    ]
    return FiguresOverTime(
        stretches.starts_ns if total.runs else [],
        stretches.width_ns,
        Figures.of(total),
        {number: Figures.of(counts) for number, counts in sorted(by_stretch.items())},
        series,
    )


def range_of(wanted: RunFilter, oldest_ns: int | None, now_ns: int) -> Stretches:
    """Return the range that a filter asks for: to now where it has no end, from the oldest run where no beginning."""
    until = now_ns + 1 if wanted.until_ns is None else wanted.until_ns
    since = wanted.since_ns if wanted.since_ns is not None else until - 1 if oldest_ns is None else oldest_ns
    return Stretches.of(since, until)


def own_series(counts: Mapping[str | None, int]) -> list[str | None]:
    """Return the models that have a series of their own, the most frequent first, then by name."""
    ranked = sorted(counts, key=lambda name: (-counts[name], name or ""))
    return ranked if len(ranked) <= MOST_MODELS + 1 else ranked[:MOST_MODELS]


def figures_of(runs: Iterable[RunSummary], wanted: RunFilter, now_ns: int) -> FiguresOverTime:
    """Return what runs show over time, in the most obvious way; those that start after now are left out."""
    there = [run for run in runs if run.start_ns <= now_ns]
    stretches = range_of(wanted, min((run.start_ns for run in there), default=None), now_ns)
    models = own_series(Counter(run.model for run in there))
    cells = defaultdict[tuple[int, int], Counts](Counts)
    for run in there:
        place = models.index(run.model) if run.model in models else len(models)
        number = run.start_ns // stretches.width_ns - stretches.first
        _count(cells[number, place], run)
    return figures_over_time(stretches, models, cells)


def _count(counts: Counts, run: RunSummary) -> None:
    counts.runs += 1
    if run.risk_level in LEVELS:
        counts.levels[run.risk_level] += 1
    for flag in FLAGS:
        raised = getattr(run, flag)
        counts.judged[flag] += raised is not None
        counts.raised[flag] += bool(raised)
    if run.risk_score is not None:
        counts.risks.append(np.asarray([int(run.risk_score * 1000 + 0.5)]))
    if run.end_ns >= run.start_ns:
        counts.latencies.append(np.asarray([(run.end_ns - run.start_ns) // _MILLISECOND_NS]))
    if run.entropy_mean is not None:
        counts.entropy_sum += run.entropy_mean
        counts.entropy_runs += 1


def _quantiles(parts: list[Thousandths]) -> Quantiles | None:
    """Return how values in thousandths are distributed."""
    values = np.sort(np.concatenate(parts)) if parts else np.empty(0)
    runs = len(values)
    if not runs:
        return None
    return Quantiles(runs, *(float(values[-(-runs * tenths // 10) - 1]) / 1000 for tenths in (5, 9)))
