"""How often the limit of a profile calls one of its own runs out, when that is made of the others."""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from ..baselines.profile import ProfiledRuns
from ..baselines.profile_limits import limit_of_all

_Z: Final = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Runs beyond the limit that the runs of other groups make, of all for which these were enough."""

    beyond: int
    runs: int

    @property
    def rate(self) -> float:
        """Return their fraction."""
        return self.beyond / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the rate (Wilson 1927), which takes the runs for independent."""
        n, rate = self.runs, self.rate
        middle = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        reach = _Z / (1 + _Z**2 / n) * sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n * n))
        return max(0.0, middle - reach), min(1.0, middle + reach)


def false_alarms(runs: ProfiledRuns) -> FalseAlarms | None:
    """Return how many runs are beyond the limit of the others; None where these are too few for one."""
    values, groups = np.array(runs.values), np.array(runs.groups)
    beyond = judged = 0
    for group in np.unique(groups):
        limit = limit_of_all(values[groups != group])
        if limit is not None:
            judged += int((groups == group).sum())
            beyond += int((values[groups == group] > limit).sum())
    return FalseAlarms(beyond, judged) if judged else None
