"""A run's layers: one value per layer, from the columns over steps and layers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from ..assessment.layers import over_steps
from ..run import Run
from .attributes import rounded


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
    """Return the layer arrays. An array with holes holds the layers without one, and an index names them."""
    attributes: dict[str, Any] = {}
    counts = nonfinite_counts(run)
    if counts is not None:
        measured = np.flatnonzero(~np.isnan(counts))
        attributes[semconv.LAYERS_NONFINITE] = [int(count) for count in counts[measured]]
        attributes |= _index(semconv.LAYERS_INDEX, measured, len(counts))
    maxima = run.column("hidden_max_abs")
    if maxima is not None and len(maxima):
        finite = np.where(np.isfinite(maxima), maxima, np.nan).astype(np.float64)
        attributes |= _arrays(
            {
                semconv.LAYERS_L2_NORM: layer_means(run, "hidden_l2_norm"),
                semconv.LAYERS_MAX_ABS: over_steps(np.nanmax, finite),
            },
            semconv.LAYERS_NORM_INDEX,
        )
    attention = {
        semconv.LAYERS_ATTENTION_ENTROPY: layer_means(run, "attention_entropy"),
        semconv.LAYERS_ATTENTION_ENTROPY_STD: layer_means(run, "attention_entropy_std"),
    }
    collapsed = layer_means(run, "collapsed_head_rate")
    if collapsed is not None and not np.isnan(collapsed).all():
        attention[semconv.LAYERS_COLLAPSED_HEAD_RATE] = collapsed
    return attributes | _arrays(attention, semconv.LAYERS_ATTENTION_INDEX)


def nonfinite_counts(run: Run) -> NDArray[np.float64] | None:
    """Return each layer's NaN and infinities over its measured steps [layers], NaN for layers without any."""
    nan, inf = run.counts("hidden_nan"), run.counts("hidden_inf")
    if nan is None or inf is None or not len(nan):
        return None
    counts = np.asarray(nan + inf, np.float64)
    return np.where(np.isnan(counts).all(0), np.nan, np.nansum(counts, axis=0))


def _arrays(arrays: dict[str, NDArray[np.float64] | None], index: str) -> dict[str, Any]:
    """Return arrays over the layers for which all of them have a value, and these layers if some have not."""
    present = {name: values for name, values in arrays.items() if values is not None}
    if not present:
        return {}
    finite = np.all([np.isfinite(values) for values in present.values()], axis=0)
    layers = np.flatnonzero(finite)
    if not layers.size:
        return {}
    attributes: dict[str, Any] = {name: rounded(values[layers]) for name, values in present.items()}
    return attributes | _index(index, layers, len(finite))


def _index(name: str, layers: NDArray[Any], count: int) -> dict[str, Any]:
    return {} if len(layers) == count else {name: [int(layer) for layer in layers]}
