"""From a model's healthy runs to its baseline profile."""

import hashlib
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..baselines.profile import LEVELS, Identity, Made, Number, Profile, ProfileError, Spread, Spreads
from ..baselines.profiled_signals import LAYER_SIGNALS, STEP_SIGNALS, Values, layer_signals, step_signals, windows
from ..run import Run
from ..version import __version__

FEWEST_STEPS = 256
"""Steps without which a profile says nothing: its outer quantiles would be single tokens."""


def fit_profile(runs: Sequence[Run], *, prompts: Sequence[str] | None = None) -> Profile:
    """Make the profile of a model from its healthy runs.

    A run in which something was not finite is left out: it is not healthy.

    Args:
        runs: of one model.
        prompts: what they answered; only a hash of it is kept.

    Raises:
        ProfileError: if the runs are of several models, too few, or without a signal.
    """
    healthy = [run for run in runs if _finite(run)]
    if not healthy:
        raise ProfileError(f"a profile needs healthy runs: none of the {len(runs)} has finite values only")
    model = healthy[0].model
    if any(run.model.name != model.name for run in healthy):
        raise ProfileError("a profile is of one model; these runs are of several")
    steps = sum(run.steps for run in healthy)
    if steps < FEWEST_STEPS:
        raise ProfileError(f"a profile needs {FEWEST_STEPS} steps, these runs have {steps}: give more or longer ones")
    signals = _spreads([step_signals(run) for run in healthy], STEP_SIGNALS)
    if not signals:
        raise ProfileError("a profile needs runs whose logits were measured")
    digest = None if prompts is None else hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    return Profile(
        model=Identity.of(model),
        made=Made(version=__version__, runs=len(healthy), steps=steps, prompts_sha256=digest),
        signals=signals,
        layers=_spreads([layer_signals(run) for run in healthy], LAYER_SIGNALS),
    )


def _finite(run: Run) -> bool:
    counts = (run.counts(name) for name in ("logits_nan", "logits_posinf", "hidden_nan", "hidden_inf"))
    return not any(values is not None and (np.nan_to_num(values) > 0).any() for values in counts)


def _spreads(runs: Sequence[dict[str, Values]], names: Sequence[str]) -> dict[str, Spreads]:
    found = {}
    for name in names:
        values = [signals[name] for signals in runs if name in signals]
        steps = _pooled(values, lambda column: column[1:])
        medians = _pooled(values, lambda column: windows(column)[1])
        if steps is not None and medians is not None:
            found[name] = Spreads(steps=_spread(steps), windows=_spread(medians))
    return found


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
    """Return numbers of four digits, None for what does not exist."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values.tolist()]
