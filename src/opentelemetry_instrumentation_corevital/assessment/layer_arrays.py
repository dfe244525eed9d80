"""A run's layers: one value per layer, from the columns over steps and layers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..catalogue import signals
from ..catalogue.signal import Signal, Statistic
from ..run import Run
from .layer_findings import over_steps
from .run_attributes import rounded


def layer_means(run: Run, name: str) -> NDArray[np.float64] | None:
    """Return a layer signal's mean over its finite steps [layers], NaN without any; None where it was not measured.

    It is rounded here, so that a span and the metrics have the same number.
    """
    values = run.column(name)
    if values is None or not len(values):
        return None
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    return np.asarray(rounded(over_steps(np.nanmean, finite)), np.float64)


def layer_attributes(run: Run) -> dict[str, Any]:
    """Return the layer arrays. Those of a family with holes hold the layers without one, and an index names them."""
    attributes: dict[str, Any] = {}
    for family in signals.FAMILIES:
        arrays = {each: _of_layers(run, each) for each in signals.layer_arrays(family)}
        attributes |= _arrays(arrays, signals.index_name(family))
    return attributes


def _of_layers(run: Run, signal: Signal) -> NDArray[np.float64] | None:
    """Return what a signal's layer array is made of [layers], NaN without a value; None where it was not measured."""
    array, values = signal.layer_array, run.column(signal.name)
    if signal.name in _MADE:
        return _MADE[signal.name](run)
    if array is None or values is None or not len(values):
        return None
    if array.statistic == "mean":
        return layer_means(run, signal.name)
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    return over_steps(_STATISTICS[array.statistic], finite)


def nonfinite_counts(run: Run) -> NDArray[np.float64] | None:
    """Return each layer's NaN and infinities over its measured steps [layers], NaN for layers without any."""
    nan, inf = run.counts("hidden_nan"), run.counts("hidden_inf")
    if nan is None or inf is None or not len(nan):
        return None
    counts = np.asarray(nan + inf, np.float64)
    return np.where(np.isnan(counts).all(0), np.nan, np.nansum(counts, axis=0))


_MADE: Final = {"nonfinite": nonfinite_counts}
"""Signal that is no column of a run -> what makes it of other columns."""
_STATISTICS: Final[Mapping[Statistic, Callable[..., Any]]] = {"min": np.nanmin, "max": np.nanmax, "sum": np.nansum}


def _arrays(arrays: Mapping[Signal, NDArray[np.float64] | None], index: str) -> dict[str, Any]:
    """Return arrays over the layers for which all of them have a value, and these layers if some have not."""
    present = {each: values for each, values in arrays.items() if values is not None}
    present = {each: values for each, values in present.items() if not (_optional(each) and np.isnan(values).all())}
    if not present:
        return {}
    finite = np.all([np.isfinite(values) for values in present.values()], axis=0)
    layers = np.flatnonzero(finite)
    if not layers.size and not all(map(_counts, present)):  # counts of no layer say that none was measured
        return {}
    attributes: dict[str, Any] = {
        each.layers_name: [int(value) for value in values[layers]] if _counts(each) else rounded(values[layers])
        for each, values in present.items()
    }
    return attributes if len(layers) == len(finite) else attributes | {index: [int(layer) for layer in layers]}


def _optional(signal: Signal) -> bool:
    return signal.layer_array is not None and signal.layer_array.optional


def _counts(signal: Signal) -> bool:
    return signal.layer_array is not None and signal.layer_array.integers
