"""Finds since which run a number is another one than before, over the runs of a model in the order of time.

A series is split in two at every run, and the ranks of the runs behind the split are compared with those before it:
Mann and Whitney's test at every split (Pettitt 1979), whose largest score says where the series changed. Ranks need no
distribution of the number, and one run that is far out counts no more than one that is just above all others. Asked
again after each run, the largest score has a limit that healthy series stay below with a stated probability (the change
point model: Hawkins and Deng 2010, "A nonparametric change-point control chart", J. Quality Technology 42; Ross,
Tasoulis and Adams 2011, Technometrics 53). The limit is simulated (`benchmarks/drift_limits.py`).

Numbers of a run depend on how long its answer is. So a run has its rank only among those of its stratum, such as
answers of about the same length, and strata are added up (van Elteren 1960, Bull. Int. Stat. Inst. 37). Where lengths
change as well, what no longer occurs in both parts is not compared.

With strata s of m runs, k of them before the split and w behind it, and ranks R from 1 (equal values have the mean of
theirs), u = (R - 1/2) / m:

    difference   D = - sum over runs before the split of (u - 1/2)
    weight       W = sum over s of k w / m
    score        z = D / sqrt(sum over s of k w (m + 1) / (12 m^2))
    effect       A = 1/2 + D / W     probability that a run behind the split is above one before it (of equals: half)

With one stratum z is Mann and Whitney's and A that of Vargha and Delaney (2000, J. Educ. Behav. Stat. 25). The variance
is that without ties, which is larger: with ties the score is smaller, and the limit is kept.

A flag is counted instead: O runs behind the split have it, E are expected there from each stratum's rate, and the
score is the signed root of Poisson's deviance, sign(O - E) sqrt(2 (O ln(O / E) - O + E)): a rare flag has no ranks to
speak of.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEWEST_BEFORE: Final = 50
"""Runs before a change that say what was usual."""
FEWEST_AFTER: Final = 10
"""Runs behind a change."""
MOST_RUNS: Final = 2000
"""Runs of a series at most: for more, the limit does not hold."""
FALSE_ALARMS: Final = 0.01
"""In how many healthy models any of `MOST_SIGNALS` signals is ever found changed, asked after each run."""
MOST_SIGNALS: Final = 10
"""Of a model: each has its part of `FALSE_ALARMS` (Bonferroni)."""
LIMIT: Final = 5.05
"""Score beyond which a series has changed: 0.1 % of unchanged series of `MOST_RUNS` runs ever pass it."""
LEAST_EFFECT: Final = 0.14
"""Of |A - 1/2|: what Vargha and Delaney call a medium effect. Less is no drift, however sure it is."""
LEAST_RATE: Final = 0.05
"""Of a flag's rate: what it has to change by."""

DriftSeries = NDArray[np.float64]
Strata = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Change:
    """Where a series changed.

    Attributes:
        place: the first run behind the change, counted in the series.
        score: how sure it is, in standard deviations; above 0: the number has risen.
        effect: of numbers A, from 0 to 1; of a flag how much its rate has risen, from -1 to 1.
        before, after: median of the number, or rate of the flag, in the two parts.
    """

    place: int
    score: float
    effect: float
    before: float
    after: float


def length_strata(tokens: DriftSeries) -> Strata:
    """Return the stratum of each answer by its length [runs]: its octave; of an unknown length -1."""
    known = np.isfinite(tokens) & (tokens >= 1)
    return np.where(known, np.floor(np.log2(np.where(known, tokens, 1.0))), -1).astype(np.int64)


def find_change(values: DriftSeries, strata: Strata) -> Change | None:
    """Return where numbers changed; None where they did not, or there are too few.

    Args:
        values: of each run [runs], in the order of time; one that is not finite is left out.
        strata: of each run [runs].
    """
    known = np.flatnonzero(np.isfinite(values))[-MOST_RUNS:]
    series = values[known]
    scores, effects = split_scores(series, strata[known])
    scores[np.abs(effects - 0.5) < LEAST_EFFECT] = 0.0
    split = _largest(scores)
    if split is None:
        return None
    return Change(
        int(known[split]),
        float(scores[split]),
        float(effects[split]),
        float(np.median(series[:split])),
        float(np.median(series[split:])),
    )


def find_rate_change(flags: DriftSeries, strata: Strata) -> Change | None:
    """Return where a flag's rate changed; None where it did not, or there are too few.

    Args:
        flags: of each run [runs], 0 or 1, in the order of time; one that is not finite is left out.
        strata: of each run [runs].
    """
    known = np.flatnonzero(np.isfinite(flags))[-MOST_RUNS:]
    series = flags[known]
    scores = rate_scores(series, strata[known])
    runs = np.arange(len(series))
    raised = np.concatenate(([0.0], np.cumsum(series)))[:-1]
    before = raised / np.maximum(runs, 1)
    after = (series.sum() - raised) / (len(series) - runs)
    scores[np.abs(after - before) < LEAST_RATE] = 0.0
    split = _largest(scores)
    if split is None:
        return None
    rates = float(before[split]), float(after[split])
    return Change(int(known[split]), float(scores[split]), rates[1] - rates[0], *rates)


def split_scores(values: DriftSeries, strata: Strata) -> tuple[DriftSeries, DriftSeries]:
    """Return score and effect of each split of finite numbers [runs]: split k has k runs before it.

    A split with nothing to compare has the score 0 and the effect 1/2.
    """
    difference, weight, variance = np.zeros(len(values)), np.zeros(len(values)), np.zeros(len(values))
    for stratum in np.unique(strata).tolist():
        member = strata == stratum
        runs = int(member.sum())
        off = np.zeros(len(values))
        off[member] = (mid_ranks(values[member]) - 0.5) / runs - 0.5
        difference -= np.cumsum(off) - off
        before = np.cumsum(member) - member
        product = before * (runs - before)
        weight += product / runs
        variance += product * (runs + 1) / (12 * runs * runs)
    enough = weight > _COMPARABLE
    effect = 0.5 + np.divide(difference, weight, out=np.zeros(len(values)), where=enough)
    return np.divide(difference, np.sqrt(variance), out=np.zeros(len(values)), where=enough), effect


def rate_scores(flags: DriftSeries, strata: Strata) -> DriftSeries:
    """Return the score of each split of flags [runs], 0 or 1: split k has k runs before it."""
    total = flags.sum()
    observed = total - (np.cumsum(flags) - flags)
    expected = np.zeros(len(flags))
    for stratum in np.unique(strata).tolist():
        member = strata == stratum
        expected += (member.sum() - (np.cumsum(member) - member)) * flags[member].mean()
    ratio = np.divide(observed, expected, out=np.ones(len(flags)), where=(expected > 0) & (observed > 0))
    deviance = 2 * (observed * np.log(ratio) - observed + expected)
    return np.asarray(np.sign(observed - expected) * np.sqrt(np.maximum(deviance, 0.0)))


def mid_ranks(values: DriftSeries) -> DriftSeries:
    """Return the rank of each value from 1; equal ones have the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


_COMPARABLE: Final = 0.9 * FEWEST_BEFORE * FEWEST_AFTER / (FEWEST_BEFORE + FEWEST_AFTER)
"""Weight that a split has at least: that of the fewest runs, but for some whose length has no counterpart."""


def _largest(scores: DriftSeries) -> int | None:
    """Return the split with the largest score, if it is beyond the limit."""
    inner = np.abs(scores[FEWEST_BEFORE : len(scores) - FEWEST_AFTER + 1])
    if not len(inner) or math.isnan(peak := float(inner.max())) or peak <= LIMIT:
        return None
    return FEWEST_BEFORE + int(inner.argmax())
