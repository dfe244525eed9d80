"""The numbers of a run that a profile knows: of every step, and of windows of steps."""

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..catalogue.signals import names, of_profile
from ..run import Run

Values = NDArray[np.float64]

WINDOW: Final = 8
"""Steps of a window. What a token does for a step is gone in its median; what a fault does is not."""

STEP_SIGNALS: Final = names(of_profile("step"))
"""One number per step, as `Run.columns` defines them; those of the family `derived` are made here."""

SMALLEST_NORM: Final = 2.0**-64
"""Below what any layer that does something puts out."""

LAYER_SIGNALS: Final = names(of_profile("layer"))
"""One number per step and layer, the same."""


def step_signals(run: Run) -> dict[str, Values]:
    """Return what was measured of `STEP_SIGNALS` [steps], not finite where a step has none."""
    found = {name: run.columns[name].astype(np.float64) for name in STEP_SIGNALS if name in run.columns}
    made = {"prompt_focus": prompt_focus(run), "collapsed_share": collapsed_fractions(run)}
    return found | {name: values for name, values in made.items() if values is not None}


def layer_signals(run: Run, wanted: Sequence[str] = LAYER_SIGNALS) -> dict[str, Values]:
    """Return what was measured of `LAYER_SIGNALS`, or some of them [steps, layers], not finite where there is nothing.

    A signal that is made of others is taken as it is where the run has it already: what was kept of a run may be its
    derived signals alone.

    - `log2_norm`: log2 of the L2 norm of the layer's output, of at least `SMALLEST_NORM`: a layer that puts out nothing
      but zeros has a number, too.
    - `log2_gain`: the same less that of the layer before; for the first layer, which has none before it, the same. What
      one layer does to a norm shows in its own gain only, since the residual stream carries the norm itself to all
      layers after it.
    - `attention_entropy_change`: how far the mean `attention_entropy` of the last `WINDOW` steps is from that of the
      `WINDOW` steps before them; NaN where attention was not sampled on each of these, or one is the run's first.
    """
    found: dict[str, Values] = {name: run.columns[name].astype(np.float64) for name in wanted if name in run.columns}
    missing = set(wanted).difference(found)
    norms = run.column("hidden_l2_norm")
    if norms is not None and not missing.isdisjoint({"log2_norm", "log2_gain"}):
        with np.errstate(invalid="ignore"):
            logs = np.log2(np.maximum(norms.astype(np.float64), SMALLEST_NORM))
            gain = np.diff(logs, axis=1, prepend=0.0)
        found = {"log2_norm": logs, "log2_gain": gain} | found
    entropy = run.column("attention_entropy")
    if entropy is not None and "attention_entropy_change" in missing:
        found["attention_entropy_change"] = _change(entropy.astype(np.float64))
    return found


def _change(values: Values) -> Values:
    """Return how far the mean of each step's window is from that of the one before it [steps, layers]."""
    change = np.full_like(values, np.nan)
    if len(values) <= 2 * WINDOW:
        return change
    means = values[: 1 - WINDOW].copy()
    with np.errstate(invalid="ignore"):
        for later in range(1, WINDOW):
            means += values[later : len(values) + 1 - WINDOW + later]
        means /= WINDOW
        change[2 * WINDOW :] = np.abs(means[WINDOW + 1 :] - means[1:-WINDOW])
    return change


def prompt_focus(run: Run) -> Values | None:
    """Return each step's attention to the prompt over what attention without a preference would give it [steps].

    Of the weight that is not on the first 4 keys, the fraction on the rest of the prompt, averaged over layers, over
    that rest's fraction of the visible keys. A sliding window makes it smaller than it is.
    """
    if "prompt_focus" in run.columns:
        return np.asarray(run.columns["prompt_focus"], np.float64)
    prompt, generated = run.column("attention_mass_prompt"), run.column("attention_mass_generated")
    rest = 0 if run.input_tokens is None else run.input_tokens - 4
    if prompt is None or generated is None or rest <= 0:
        return None
    weight = mean_over_layers(prompt)
    keys = rest + np.arange(run.steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(weight / (weight + mean_over_layers(generated)) * keys / rest, np.float64)


def collapsed_fractions(run: Run) -> Values | None:
    """Return each step's fraction of collapsed heads over its layers [steps], NaN where it could not be told.

    None where attention was not sampled.
    """
    if "collapsed_share" in run.columns:
        return np.asarray(run.columns["collapsed_share"], np.float64)
    rates = run.column("collapsed_head_rate")
    return None if rates is None else mean_over_layers(rates)


def mean_over_layers(values: NDArray[np.float32]) -> Values:
    """Return the mean over the layers that were looked at [steps]."""
    if not np.isnan(values).any():
        return np.asarray(values.mean(axis=1, dtype=np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values.astype(np.float64), axis=1))


def windows(values: Values) -> tuple[NDArray[np.int64], Values]:
    """Return the first steps and the medians of windows that follow each other.

    A window is `WINDOW` steps on which there was something to see, the first step of the run left out: its query is the
    prompt's last token.

    Args:
        values: [steps] or [steps, layers].
    """
    table = values if values.ndim == 2 else values[:, None]
    finite = np.isfinite(table)
    whole = bool(finite[1:].all())
    seen = np.arange(1, len(table)) if whole else np.flatnonzero(finite[1:].any(1)) + 1
    count = len(seen) // WINDOW
    steps = seen[: count * WINDOW].reshape(count, WINDOW)
    # The same without a copy, where nothing is missing.
    parts = table[1 : count * WINDOW + 1].reshape(count, WINDOW, table.shape[1]) if whole else table[steps]
    if not count:
        medians = np.empty((0, table.shape[1]))
    elif whole or finite[steps].all():
        medians = median(parts, axis=1)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            medians = np.nanmedian(np.where(finite[steps], parts, np.nan), axis=1)
    return steps[:, 0], medians if values.ndim == 2 else medians[:, 0]


def median(values: Values, axis: int = 0) -> Values:
    """Return the median of numbers over an axis. NumPy's own partitions them, which takes longer for so few."""
    ordered = np.sort(values, axis=axis)
    half, odd = divmod(values.shape[axis], 2)
    upper = ordered.take(half, axis)
    return np.asarray(upper if odd else (ordered.take(half - 1, axis) + upper) / 2)
