"""What a run's layer columns [steps, layers] say: shared by the health flags and by the blame."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..run import Run
from .thresholds import Thresholds

Columns = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NormOutlier:
    """The step at which a layer's norm was furthest from its median over the run."""

    layer: int
    step: int
    norm: float
    median: float
    z: float


def middle_third(layers: int) -> range:
    """Return the indices of the middle third of the layers."""
    return range(layers // 3, layers - layers // 3)


def norm_outliers(run: Run, thresholds: Thresholds) -> list[NormOutlier] | None:
    """Return the layers whose L2 norm stands out at some step; None where too few steps were measured.

    A layer is compared with itself only: early layers of healthy models differ from late ones by orders of magnitude.
    The first step is left out, since a prompt of one token ends on the model's own sink.
    """
    norms = run.column("hidden_l2_norm")
    if norms is None or len(norms) <= thresholds.norm_steps:
        return None
    values = np.where(np.isfinite(norms[1:]), norms[1:], np.nan).astype(np.float64)
    median = over_steps(np.nanmedian, values)
    deviation = np.abs(values - median)
    spread = over_steps(np.nanmedian, deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = 0.6745 * deviation / spread
    outliers = []
    for layer in range(values.shape[1]):
        if np.isnan(z[:, layer]).all():
            continue
        step = int(np.nanargmax(z[:, layer]))
        far = deviation[step, layer] > thresholds.norm_change * median[layer]
        if z[step, layer] > thresholds.norm_outlier and far:
            outliers.append(
                NormOutlier(layer, step + 1, float(values[step, layer]), float(median[layer]), float(z[step, layer]))
            )
    return outliers


def collapse(run: Run, thresholds: Thresholds) -> tuple[NDArray[np.int64], Columns] | None:
    """Return the steps on which collapsed heads could be told, and each layer's share of them on these steps.

    None where attention was not looked at, or no row had enough keys.
    """
    rates = run.column("collapsed_head_rate")
    if rates is None:
        return None
    steps = np.flatnonzero(~np.isnan(rates).all(1))
    if len(steps) < thresholds.collapse_steps:
        return None
    return steps, rates[steps].astype(np.float64)


def windows(values: Columns, size: int) -> Columns:
    """Return the means over `size` steps in a row [steps - size + 1, ...], leaving out what is not finite."""
    return over_steps(np.nanmean, np.moveaxis(np.lib.stride_tricks.sliding_window_view(values, size, 0), -1, 0))


def over_steps(reduce: object, values: Columns) -> Columns:
    """Reduce over the first axis, quietly: a column without a finite value is NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(reduce(values, axis=0), np.float64)  # type: ignore[operator]
