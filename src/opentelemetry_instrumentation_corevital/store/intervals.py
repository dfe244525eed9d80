"""95 % intervals of a difference of means, by formula: nothing is drawn, so the same runs give the same ends.

    quantities, in pairs      Student's t over the differences
    quantities, not in pairs  Welch's t
    fractions, in pairs       Bonett and Price 2012: Wald's with one more pair that speaks for each side
    fractions, not in pairs   Agresti and Caffo 2000: the same idea for two groups

Unlike Wald's own, the last two hold near 0 and 1 and for few pairs. A quantity that has bounds has an interval within
them (`within`): what is cut off cannot be the truth, so the interval holds it as often as before.

Below `FEWEST` units there is no interval; below `ROUGH` `compare` calls it rough, since what is rare may not have shown
yet: of a risk that leaps to 1 in one run of ten, Student's t over 10 pairs holds the truth 71 times in 100, over 30
pairs 93 times (tests/store/test_intervals.py).
"""

import math
from typing import Any, Final

from numpy.typing import NDArray

FEWEST: Final = 4
"""Values (or pairs) that an interval needs at least."""
ROUGH: Final = 20
"""Below so many an interval is called rough."""
_Z: Final = 1.959964  # 97.5 % quantile of the normal distribution
_NOISE: Final = 1e-12  # below it a spread is what rounding leaves

Interval = tuple[float, float]
Sample = NDArray[Any]


def paired_t(differences: Sample) -> Interval | None:
    """Return Student's interval of the mean of differences [pairs]; None where they are all the same."""
    n = len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    return _around(float(differences.mean()), error, n - 1)


def welch(a: Sample, b: Sample) -> Interval | None:
    """Return Welch's interval of mean(a) - mean(b) (Satterthwaite's degrees of freedom); None where nothing varies."""
    parts = [float(each.var(ddof=1)) / len(each) for each in (a, b)]
    total = math.fsum(parts)
    if total <= _NOISE**2:
        return None
    freedom = total**2 / math.fsum(part**2 / (len(each) - 1) for part, each in zip(parts, (a, b), strict=True))
    return _around(float(a.mean() - b.mean()), math.sqrt(total), freedom)


def paired_fraction(differences: Sample) -> Interval:
    """Return the interval of a difference of two fractions of the same prompts.

    Bonett and Price 2012 (J. Educ. Behav. Stat. 37): one more pair that speaks for each side. With differences
    [pairs] of -1, 0 and 1 it is their formula; those of prompts that were run several times lie between.
    """
    n = len(differences) + 2
    mean = float(differences.sum()) / n
    variance = (float((differences**2).sum()) + 2) / n - mean**2
    reach = _Z * math.sqrt(variance / n)
    return within((mean - reach, mean + reach), 1.0)


def two_fractions(a: Sample, b: Sample) -> Interval:
    """Return the interval of a difference of two fractions of different prompts, each [prompts] in 0 to 1.

    Agresti and Caffo 2000 (Am. Stat. 54): one more of both outcomes on each side.
    """
    p = [(float(each.sum()) + 1) / (len(each) + 2) for each in (a, b)]
    reach = _Z * math.sqrt(math.fsum(q * (1 - q) / (len(each) + 2) for q, each in zip(p, (a, b), strict=True)))
    return within((p[0] - p[1] - reach, p[0] - p[1] + reach), 1.0)


def within(ends: Interval, largest: float) -> Interval:
    """Return an interval of a difference of two quantities from 0 to `largest`, without what cannot be."""
    return max(-largest, ends[0]), min(largest, ends[1])


def student_t(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t, within 0.2 % from 3 degrees of freedom on (Abramowitz, 26.7.5)."""
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def _around(mean: float, error: float, freedom: float) -> Interval | None:
    if error <= _NOISE * max(1.0, abs(mean)):  # a sample cannot say that there is no spread at all
        return None
    reach = student_t(freedom) * error
    return mean - reach, mean + reach
