"""The limit of a profile: how far out a run may be, as the numbers of the profile's own runs say."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .profile import LEVELS, Profile, Spread
from .run_numbers import FEWEST_RUNS, RULE_VERSION, RunLimit, Yardstick, limit_of
from .run_numbers import LEVELS as MEASURED_LEVELS
from .windowed import VIEWS, TableRows

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
    value = limit_of(np.array(runs.values))
    return (
        (None, f"{whose} has too few runs: {_ANEW}") if value is None else (RunLimit(value, yardstick(profile)), None)
    )


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
