"""The layers of a run over its steps for its page: heat maps as bytes, and what they say of each layer."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .... import semconv
from ....assessment.layer_findings import over_steps
from ....catalogue.signals import signal
from ...heat_map import COLOURS, DEFAULT, SIGNALS, LayerMap, buckets, layer_map
from ...shapes import RunShape
from ..page_formats import NOTHING, number

_MOST_COLUMNS: Final = 2048
_MOST_CELLS: Final = 2_000_000
"""Of all maps together: a page has to stay below some megabytes."""
_FEWEST_COLUMNS: Final = 256
_SHADES: Final = 250
_BELOW, _ABOVE, _BAD, _MISSING = 251, 252, 254, 255
"""Codes behind the shades: a value beyond the scale's ends, NaN or infinity, not measured."""
_TAIL: Final = 0.005
"""The fraction of the cells at each end that the scale leaves out: a few outliers must not take its colours."""
_AT_MOST: Final = "\u2264 "
_AT_LEAST: Final = "\u2265 "
_HEAD: Final = ("layer", "median", "smallest", "at step", "largest", "at step", "steps with NaN or infinity")


def maps_view(run: RunShape) -> dict[str, Any]:
    """Return the maps of all signals that the run has, and the blamed layers, as the page's script reads them.

    A cell is a byte, base64 of layer after layer: 0 to 250 on the scale from `low` to `high`, 251 and 252 for a value
    below and above it, which `beyond` has by its place, 254 for NaN or infinity, 255 where nothing was measured.
    """
    found = {name: layer_map(run.columns, name) for name in SIGNALS}
    there = {name: each for name, each in found.items() if each is not None and each.steps.size}
    layers = max((each.values.shape[1] for each in there.values()), default=1)
    columns = max(_FEWEST_COLUMNS, min(_MOST_COLUMNS, _MOST_CELLS // max(1, layers * len(there))))
    order = sorted(there, key=lambda name: name not in DEFAULT)
    blamed = run.attributes.get(semconv.BLAME_LAYERS) or ()
    return {
        "maps": [_map(name, there[name], columns) for name in order],
        "palette": COLOURS,
        "blamed": [int(layer) for layer in blamed if 0 <= layer < layers],
    }


def layer_table(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a map of `maps_view` says of each layer as a table."""
    return {"head": _HEAD, "rows": shown["rows"], "left_out": 0}


def _map(name: str, found: LayerMap, most: int) -> dict[str, Any]:
    count = min(most, len(found.steps))
    cells = buckets(found.values, count)
    faulty = buckets(found.faulty.astype(np.float64), count) > 0
    low, high = _scale(cells)
    codes, beyond = _codes(cells.T, faulty.T, low, high)
    edges = np.linspace(0, len(found.steps), count, endpoint=False).astype(int)
    steps = found.steps[edges]
    unit = "times the layer's median" if found.relative else _unit(name)
    return {
        "name": name,
        "title": found.title,
        "unit": unit,
        "steps": _packed_steps(steps),
        "last": int(found.steps[-1]),
        "layers": cells.shape[1],
        "low": low,
        "high": high,
        "weak": f"{_AT_MOST if (codes == _BELOW).any() else ''}{_shown(low, found.relative)}",
        "strong": f"{_AT_LEAST if (codes == _ABOVE).any() else ''}{_shown(high, found.relative)} {unit}".strip(),
        "relative": found.relative,
        "cells": base64.b64encode(codes.tobytes()).decode("ascii"),
        "beyond": beyond,
        "rows": _rows(found),
    }


def _scale(cells: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the scale: all but the furthest cells; 0 twice where there is none."""
    finite = cells[np.isfinite(cells)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.quantile(finite, (_TAIL, 1 - _TAIL)) if finite.size > 1 / _TAIL else (finite.min(), finite.max())
    return float(low), float(high)


def _codes(
    cells: NDArray[np.float64], faulty: NDArray[np.bool_], low: float, high: float
) -> tuple[NDArray[np.uint8], dict[int, float]]:
    """Return a byte for each cell [layers, columns], and the values that are beyond the scale by their place."""
    missing = ~np.isfinite(cells)
    fraction = (np.nan_to_num(cells) - low) / (high - low) if high > low else np.zeros_like(cells)
    codes = np.round(np.clip(fraction, 0.0, 1.0) * _SHADES).astype(np.uint8)
    codes[np.where(missing, False, cells < low)] = _BELOW
    codes[np.where(missing, False, cells > high)] = _ABOVE
    codes[missing] = _MISSING
    codes[faulty] = _BAD
    places = np.flatnonzero((codes == _BELOW) | (codes == _ABOVE))
    return codes, {int(place): float(f"{cells.flat[place]:.4g}") for place in places}


def _packed_steps(steps: NDArray[np.int64]) -> list[int] | None:
    """Return the step with which each column begins; None where that is its number."""
    return None if np.array_equal(steps, np.arange(len(steps))) else steps.tolist()


def _rows(found: LayerMap) -> list[list[Any]]:
    """Return what the table says of each layer."""
    values, faults = found.values, found.faulty.sum(0)
    medians = over_steps(np.nanmedian, values)
    rows = []
    for layer in range(values.shape[1]):
        known = np.flatnonzero(np.isfinite(values[:, layer]))
        numbers: list[Any] = [NOTHING] * 5
        if known.size:
            column = values[known, layer]
            low, high = int(column.argmin()), int(column.argmax())
            numbers = [
                _shown(medians[layer], found.relative),
                *(_shown(column[low], found.relative), int(found.steps[known[low]])),
                *(_shown(column[high], found.relative), int(found.steps[known[high]])),
            ]
        rows.append([layer, *numbers, int(faults[layer])])
    return rows


def _shown(value: float, relative: bool) -> str:
    return number(float(np.exp(value)) if relative else float(value))


def _unit(name: str) -> str:
    try:
        unit = signal(name).unit
    except KeyError:  # a column of a migrated run
        return ""
    return "" if unit == "1" else unit
