"""What a run's layer columns [steps, layers] say: shared by the health flags and by the blame."""

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.profiled_signals import median
from ..run import Run

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
