"""The limit of a profile: how far out a run may be, as the numbers of the profile's own runs say.

A baseline that learns from served runs sees one after another: a run beyond the limit is flagged and teaches nothing. A
profile sees all of its runs at once, and below 400 the largest number is the limit. So one strange run among hundreds
(a token late in the text that becomes a second attention sink, say) would set the limit of every layer several times
too high. Such a run counts as beyond the limit, as it would have where it was served.
"""

from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .profile import LEVELS, Profile, Spread
from .run_numbers import FEWEST_RUNS, RULE_VERSION, RunLimit, Yardstick, limit_of, promised_rate
from .run_numbers import LEVELS as MEASURED_LEVELS
from .windowed import VIEWS, TableRows

STRANGE: Final = 2.0
"""A run is strange that is more than so many times as far out as all but the few that may be beyond the limit."""

_ANEW: Final = "make it anew with `corevital calibrate`"


def limit_of_profile(profile: Profile) -> tuple[RunLimit | None, str | None]:
    """Return the limit, or None and why there is none."""
    runs = profile.runs
    whose = f"the profile of {profile.model.name}"
    if runs is None:
        return None, f"{whose} has no numbers of its runs (format {profile.version}): {_ANEW}"
    if runs.rule != RULE_VERSION:
        return None, f"{whose} has numbers of its runs by another rule ({runs.rule}, not {RULE_VERSION}): {_ANEW}"
    if len(runs.values) < FEWEST_RUNS:
        return None, f"{whose} was made of {len(runs.values)} runs, fewer than {FEWEST_RUNS}: {_ANEW}"
    value = limit_of_all(np.array(runs.values))
    return (
        (None, f"{whose} has too few runs: {_ANEW}") if value is None else (RunLimit(value, yardstick(profile)), None)
    )


def limit_of_all(numbers: NDArray[np.float64], times: float = STRANGE) -> float | None:
    """Return the limit that the numbers of a profile's runs make; None for too few."""
    usual = without_strange(numbers, times)
    return limit_of(usual, (len(numbers) - len(usual)) / len(usual)) if len(usual) else None


def without_strange(numbers: NDArray[np.float64], times: float = STRANGE) -> NDArray[np.float64]:
    """Return the numbers of the runs that are not strange, in order.

    No more are left out than the promise allows beyond the limit: what is frequent is usual for this model.

    Args:
        numbers: of a profile's runs.
        times: a run is strange that is more than so many times as far out as all that are not.
    """
    ordered, count = np.sort(numbers), len(numbers)
    for strange in range(min(ceil(promised_rate(count) * count), count - 1), 0, -1):
        if ordered[-strange] > times * ordered[-strange - 1]:
            return ordered[:-strange]
    return ordered


def yardstick(profile: Profile) -> Yardstick:
    """Return with what runs are measured."""
    rows = TableRows(layers_of(profile))
    table = np.full((len(MEASURED_LEVELS), rows.count), np.nan)
    for signal, spreads in (profile.layers | profile.signals).items():
        for view in VIEWS:
            spread = getattr(spreads, view)
            if spread is not None:
                table[:, rows.of(view, signal)] = [_quantile(spread, level) for level in MEASURED_LEVELS]
    return Yardstick.of_quantiles(table, rows)


def layers_of(profile: Profile) -> int:
    """Return the number of layers of which a profile knows something."""
    return next((len(spreads.steps.location) for spreads in profile.layers.values()), 0)


def _quantile(spread: Spread, level: float) -> NDArray[np.float64]:
    return spread.quantile(level) if level in LEVELS else spread.centre
