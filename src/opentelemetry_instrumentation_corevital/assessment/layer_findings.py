"""What a run's layer columns [steps, layers] say: shared by the health flags and by the blame."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.profiled_signals import median
from ..run import Run, middle_third
from .deviation import first_nonfinite
from .thresholds import Thresholds

LayerValues = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NormOutlier:
    """A step at which a layer's norm was far from its median over the run."""

    layer: int
    step: int
    norm: float
    median: float
    z: float

    def evidence(self) -> dict[str, float]:
        """Return the numbers."""
        return {
            "step": self.step,
            "norm": float(f"{self.norm:.4g}"),
            "median": float(f"{self.median:.4g}"),
            "z": round(min(self.z, 1e6), 1),
        }


def norm_outliers(values: LayerValues, thresholds: Thresholds, *, first: int = 0) -> list[NormOutlier]:
    """Return every step and layer whose L2 norm stands out.

    A layer is compared with itself only: early layers of healthy models differ from late ones by orders of magnitude.

    Args:
        values: norms [steps, layers] after the run's first step, NaN where not finite.
        thresholds: say what stands out.
        first: index of the first of these layers.
    """
    usual = over_steps(np.nanmedian, values)
    deviation = np.abs(values - usual)
    spread = over_steps(np.nanmedian, deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = 0.6745 * deviation / spread
        far = (z > thresholds.norm_outlier) & (deviation > thresholds.norm_change * usual)
    far &= _comparable(values, thresholds)
    return [
        NormOutlier(first + at, step + 1, float(values[step, at]), float(usual[at]), float(z[step, at]))
        for step, at in np.argwhere(far).tolist()
    ]


def _later_norms(run: Run) -> LayerValues | None:
    """Return the L2 norms after the first step [steps - 1, layers], NaN where not finite; None if not measured.

    The first step is left out, since a prompt of one token ends on the model's own sink, and what follows a value that
    was not finite, since it is its consequence.
    """
    norms = run.column("hidden_l2_norm")
    if norms is None:
        return None
    norms = norms[1 : max(1, first_nonfinite(run))]
    return np.where(np.isfinite(norms), norms, np.nan).astype(np.float64)


def _comparable(values: LayerValues, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Return which layers have values on enough steps [layers]."""
    return np.asarray(np.isfinite(values).sum(0) >= thresholds.norm_steps)


def anomaly(run: Run, thresholds: Thresholds) -> tuple[NormOutlier | None, list[NormOutlier]] | None:
    """Return the worst outlier of a middle layer, and the neighbouring layers that stand out at its step, in order.

    Only the middle third counts: early layers of healthy models jump at single tokens by an order of magnitude
    ("massive activations", Sun et al. 2024, arXiv 2402.17762). None where it cannot be told: where no layer of the
    middle third was measured on enough steps.
    """
    values = _later_norms(run)
    if values is None:
        return None
    middle = middle_third(values.shape[1])
    own = values[:, middle.start : middle.stop]
    if not _comparable(own, thresholds).any():
        return None
    worst = max(norm_outliers(own, thresholds, first=middle.start), key=lambda o: o.z, default=None)
    if worst is None:
        return None, []
    there = {outlier.layer: outlier for outlier in norm_outliers(values, thresholds) if outlier.step == worst.step}
    first = last = worst.layer
    while first - 1 in there:
        first -= 1
    while last + 1 in there:
        last += 1
    return worst, [there[layer] for layer in range(first, last + 1)]


def collapse(run: Run, thresholds: Thresholds) -> tuple[NDArray[np.int64], LayerValues] | None:
    """Return the steps on which collapsed heads could be told, and each layer's fraction of them on these steps.

    None where attention was not sampled, or no row had enough keys.
    """
    rates = run.column("collapsed_head_rate")
    if rates is None:
        return None
    steps = np.flatnonzero(~np.isnan(rates).all(1))
    if len(steps) < thresholds.collapse_steps:
        return None
    return steps, rates[steps].astype(np.float64)


def moving_means(values: LayerValues, size: int) -> LayerValues:
    """Return the means over `size` steps in a row [steps - size + 1, ...], leaving out what is not finite."""
    return over_steps(np.nanmean, np.moveaxis(np.lib.stride_tricks.sliding_window_view(values, size, 0), -1, 0))


_WITHOUT_NAN: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    np.nanmean: np.mean,
    np.nanmedian: median,
    np.nanmax: np.max,
}
"""What does the same, some times as fast, where there is no NaN."""


def over_steps(reduce: Callable[..., Any], values: LayerValues) -> LayerValues:
    """Reduce over the first axis, quietly: a column without a value is NaN, and that is what is meant."""
    if len(values) and not np.isnan(values).any():
        return np.asarray(_WITHOUT_NAN[reduce](values, axis=0), np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(reduce(values, axis=0), np.float64)
