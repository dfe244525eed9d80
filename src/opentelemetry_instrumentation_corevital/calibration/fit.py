"""From a model's healthy runs to its baseline profile."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.profile import (
    LEVELS,
    WITHOUT_ANSWER,
    Identity,
    Made,
    Number,
    Profile,
    ProfiledRuns,
    ProfileError,
    Spread,
    Spreads,
)
from ..baselines.profiled_signals import LAYER_SIGNALS, STEP_SIGNALS, Values, layer_signals, step_signals, windows
from ..baselines.run_numbers import RULE_VERSION
from ..baselines.windowed import Part, TableRows, parts
from ..run import Run
from ..version import __version__
from .healthy import is_finite
from .left_out import left_out_numbers

FEWEST_STEPS: Final = 256
"""Steps without which a profile says nothing: its outer quantiles would be single tokens."""
_DIGITS: Final = 6


def fit_profile(
    runs: Sequence[Run], *, prompts: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Profile:
    """Make the profile of a model from its healthy runs.

    A run in which something was not finite is left out: it is not healthy.

    Args:
        runs: of one model.
        prompts: what they answered; only a hash of it is kept.
        groups: of each run a number that runs of the same prompt share, so that they do not speak for each other
            where it is measured how far out each is by the others; default: each run has its own.

    Raises:
        ProfileError: if the runs are of several models, too few, or without a signal.
    """
    kept = [place for place, run in enumerate(runs) if is_finite(run)]
    healthy = [runs[place] for place in kept]
    if not healthy:
        raise ProfileError(f"a profile needs healthy runs: none of the {len(runs)} has finite values only")
    model = healthy[0].model
    if any(run.model.name != model.name for run in healthy):
        raise ProfileError("a profile is of one model; these runs are of several")
    steps = sum(run.steps for run in healthy)
    if steps < FEWEST_STEPS:
        raise ProfileError(f"a profile needs {FEWEST_STEPS} steps, these runs have {steps}: give more or longer ones")
    layered = [layer_signals(run) for run in healthy]
    rows = TableRows(next((each.shape[1] for found in layered for each in found.values()), 0))
    measured = [list(parts(run, rows)) for run in healthy]
    signals = _spreads([step_signals(run) for run in healthy], STEP_SIGNALS, measured, rows)
    if not signals:
        raise ProfileError("a profile needs runs whose logits were measured")
    digest = None if prompts is None else hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    return Profile(
        version=WITHOUT_ANSWER,
        model=Identity.of(model),
        made=Made(version=__version__, runs=len(healthy), steps=steps, prompts_sha256=digest),
        runs=_numbers(healthy, measured, [place if groups is None else groups[place] for place in kept], rows),
        signals=signals,
        layers=_spreads(layered, LAYER_SIGNALS, measured, rows),
    )


def _numbers(
    runs: Sequence[Run], measured: Sequence[list[Part]], groups: Sequence[int], rows: TableRows
) -> ProfiledRuns | None:
    """Return the numbers of runs; None where there is none."""
    values = left_out_numbers(measured, groups, rows)
    found = [
        (float(f"{value:.{_DIGITS}g}"), run.steps, group)
        for value, run, group in zip(values, runs, groups, strict=True)
        if value is not None
    ]
    if not found:
        return None
    numbers, tokens, their_groups = zip(*found, strict=True)
    return ProfiledRuns(rule=RULE_VERSION, values=numbers, tokens=tokens, groups=their_groups)


def _spreads(
    runs: Sequence[dict[str, Values]], names: Sequence[str], measured: Sequence[list[Part]], rows: TableRows
) -> dict[str, Spreads]:
    found = {}
    for name in names:
        values = [signals[name] for signals in runs if name in signals]
        steps = _pooled(values, lambda column: column[1:])
        medians = _pooled(values, lambda column: windows(column)[1])
        if steps is not None and medians is not None:
            largest = _pooled(
                [maxima for each in measured for maxima in _maxima(each, name, rows)], lambda column: column
            )
            maxima = None if largest is None else _spread(largest)
            found[name] = Spreads(steps=_spread(steps), windows=_spread(medians), maxima=maxima)
    return found


def _maxima(measured: Sequence[Part], name: str, rows: TableRows) -> list[Values]:
    """Return the largest values of a signal's windows [windows, entries], where it was measured."""
    where = rows.of("maxima", name)
    return [
        part.table[:, where.start - part.rows.start : where.stop - part.rows.start].astype(np.float64)
        for part in measured
        if part.rows.start <= where.start < part.rows.stop
    ]


def _pooled(runs: Sequence[Values], part: Callable[[Values], Values]) -> Values | None:
    """Return all runs' values under each other [values, entries]; None where there is none."""
    parts = [values if values.ndim == 2 else values[:, None] for values in map(part, runs)]
    if not parts:
        return None
    pooled = np.concatenate(parts)
    pooled[~np.isfinite(pooled)] = np.nan
    return None if np.isnan(pooled).all() else pooled


def _spread(values: Values) -> Spread:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a layer without a number: NaN is what is meant
        location = np.nanmedian(values, axis=0)
        scale = 1.4826 * np.nanmedian(np.abs(values - location), axis=0)
        quantiles = np.nanquantile(values, LEVELS, axis=0)
    return Spread(location=_plain(location), scale=_plain(scale), quantiles=[_plain(level) for level in quantiles])


def _plain(values: NDArray[np.float64]) -> list[Number]:
    """Return numbers of six digits, None for what does not exist."""
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()]
