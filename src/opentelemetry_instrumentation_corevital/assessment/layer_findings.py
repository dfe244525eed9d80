"""What a run's layer columns [steps, layers] say: shared by the health flags and by the blame."""

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.profiled_signals import median
from ..run import Run, middle_third
from .deviation import first_nonfinite
from .thresholds import Thresholds

LayerValues = NDArray[np.float64]


def not_finite(run: Run) -> NDArray[np.bool_] | None:
    """Return at which steps, a failed one too, a layer's output was not finite, or too large for its norm to be.

    [steps, layers]; false where nothing was measured. None where no layer was.
    """
    nan, inf = run.counts("hidden_nan"), run.counts("hidden_inf")
    if nan is None or inf is None:
        return None
    bad = nan + inf > 0  # false where they were not counted: NaN
    norms = run.column("hidden_l2_norm")
    if norms is not None:
        bad[: len(norms)] |= ~np.isfinite(norms) & np.isfinite(nan[: len(norms)])
    return np.asarray(bad)


def outlying_norm(run: Run, thresholds: Thresholds) -> bool:
    """Return whether a middle layer's L2 norm was far from its own median over the run, at any step after the first.

    Only the middle third counts: early layers of healthy models jump at single tokens by an order of magnitude
    ("massive activations", Sun et al. 2024, arXiv 2402.17762).
    """
    norms = run.column("hidden_l2_norm")
    if norms is None:
        return False
    middle = middle_third(norms.shape[1])
    norms = norms[1 : max(1, first_nonfinite(run)), middle.start : middle.stop]
    values = np.where(np.isfinite(norms), norms, np.nan).astype(np.float64)
    usual = over_steps(np.nanmedian, values)
    deviation = np.abs(values - usual)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = 0.6745 * deviation / over_steps(np.nanmedian, deviation)
        far = (z > thresholds.norm_outlier) & (deviation > thresholds.norm_change * usual)
    enough = np.isfinite(values).sum(0) >= thresholds.norm_steps
    return bool((far & enough).any())


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
