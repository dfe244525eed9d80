"""Layers x steps as a heat map in the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .. import semconv
from ..assessment.layer_findings import over_steps
from ..catalogue.signals import FAMILIES, family, index_name, layer_arrays
from ..catalogue.signals import heat_maps as heat_maps_of
from .panel import sparkline

_SHADES: Final = " ░▒▓█"
# A dark-to-light scale that stays readable in black and white and with every common colour blindness.
COLOURS: Final = ("#30123b", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
_BAD: Final = "!"

_MIGRATED: Final = {each.name: map_.migrated for each, map_ in heat_maps_of() if map_.migrated is not None}
"""Signal -> the column that a migrated run has instead, and the title of its map."""

SIGNALS: Final[Mapping[str, str]] = {each.name: map_.title for each, map_ in heat_maps_of()} | dict(_MIGRATED.values())
"""Column of the run data -> what its map shows."""

_RELATIVE: Final = tuple(each.name for each, map_ in heat_maps_of() if map_.relative)
DEFAULT: Final = tuple(each.name for each, map_ in heat_maps_of() if map_.default)
"""Those that tell the most."""
_OF_SOME_MODELS: Final = frozenset(each.name for each, _ in heat_maps_of() if family(each.family).some_models)


def heat_maps(columns: Mapping[str, NDArray[Any]], width: int, signals: Sequence[str] = ()) -> RenderableType:
    """Return a map for each of the signals that the run data hold.

    Args:
        columns: a run's data.
        width: columns of the terminal.
        signals: names of `SIGNALS`; none: those that tell the most, and of those that only some models have what there
            is.
    """
    maps: list[RenderableType] = []
    for each in signals or [each for each in DEFAULT if each in columns or each not in _OF_SOME_MODELS]:
        instead, _ = _MIGRATED.get(each, (each, ""))
        name = instead if each not in columns and instead in columns else each
        found = layer_map(columns, name)
        maps.append(Text(f"{SIGNALS[name]}: not measured", "dim") if found is None else _drawn(found, width))
    return Group(*maps)


@dataclass(frozen=True, slots=True)
class LayerMap:
    """What a heat map shows."""

    title: str
    steps: NDArray[np.int64]
    """Indices of the steps that have a value [S]."""
    values: NDArray[np.float64]
    """[S, layers]; NaN where there is none. The logarithm where `relative`."""
    faulty: NDArray[np.bool_]
    """Where the layer had NaN or an infinity [S, layers]."""
    relative: bool
    """Whether it is each layer's value over its own median."""


def layer_map(columns: Mapping[str, NDArray[Any]], name: str) -> LayerMap | None:
    """Return the map of one of `SIGNALS`; None where the run data do not hold it."""
    if name not in columns:
        return None
    values, relative = np.asarray(columns[name], np.float64), name in _RELATIVE
    if values.ndim != 2:
        return None
    steps = np.flatnonzero(~np.isnan(values).all(1))
    shown = values[steps]
    faulty = np.isinf(shown)
    for each in ("hidden_nan", "hidden_inf"):
        if each in columns:
            faulty |= np.asarray(columns[each])[steps] > 0
    shown = np.where(np.isfinite(shown), shown, np.nan)
    if relative and steps.size:
        with np.errstate(divide="ignore", invalid="ignore"):
            shown = np.log(shown / over_steps(np.nanmedian, shown))
        shown = np.where(np.isfinite(shown), shown, np.nan)
    return LayerMap(SIGNALS[name], steps, shown, faulty, relative)


def _drawn(found: LayerMap, width: int) -> RenderableType:
    steps, title = found.steps, found.title
    if not steps.size:
        return Text(f"{title}: no step has a value", "dim")
    columns = max(1, min(width - 7, len(steps)))
    cells = buckets(found.values, columns)
    faults = buckets(found.faulty.astype(np.float64), columns) > 0
    low, high = value_range(cells)
    ends = np.exp([low, high]) if found.relative else (low, high)
    lines = [Text(f"{title}, {ends[0]:.3g} to {ends[1]:.3g}{', logarithmic' if found.relative else ''}", "bold")]
    for layer in range(found.values.shape[1]):
        line = Text(f"{layer:>4} │", "dim")
        for value, fault in zip(cells[:, layer], faults[:, layer], strict=True):
            line.append(*_cell(value, fault, low, high))
        lines.append(line)
    first, last = f"{steps[0]}", f"{steps[-1]}"
    lines.append(Text(f"step  {first}{last:>{max(1, columns - len(first))}}", "dim"))
    if faults.any():
        lines.append(Text(f"{_BAD} NaN or infinity", "bold red"))
    return Group(*lines)


def buckets(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return [count, layers] from [steps, layers]: of each bucket the value furthest from the layer's median.

    A mean would hide the one step that a reader looks for.
    """
    if len(values) <= count:
        return values
    edges = np.linspace(0, len(values), count + 1).astype(int)
    widest = int(np.diff(edges).max())
    places = np.minimum(edges[:-1, None] + np.arange(widest), edges[1:, None] - 1)
    distance = np.abs(values - over_steps(np.nanmedian, values))
    distance[np.isnan(values)] = -1.0
    furthest = distance[places].argmax(1)
    return np.take_along_axis(values[places], furthest[:, None], 1)[:, 0]


def value_range(cells: NDArray[np.float64]) -> tuple[float, float]:
    """Return the smallest and the largest value; 0 twice where there is none."""
    finite = cells[np.isfinite(cells)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _cell(value: float, fault: bool, low: float, high: float) -> tuple[str, str]:
    """Return a cell's character, which tells its value without colours, and its style."""
    if fault:
        return _BAD, "bold red"
    if not np.isfinite(value):
        return "·", "dim"
    fraction = (value - low) / (high - low) if high > low else 0.0
    shade = _SHADES[min(len(_SHADES) - 1, int(fraction * len(_SHADES)))]
    colour = COLOURS[min(len(COLOURS) - 1, int(fraction * len(COLOURS)))]
    return shade, f"{'black' if fraction > 0.6 else 'white'} on {colour}"


def layer_table(attributes: Mapping[str, Any]) -> RenderableType | None:
    """Return the layer arrays of a span as a table; None where it has none."""
    index = attributes.get(semconv.LAYERS_INDEX)
    counts = attributes.get(semconv.LAYERS_NONFINITE)
    if counts is None:
        return None
    layers = list(range(len(counts))) if index is None else list(index)
    columns = {
        each.layer_array.heading: _by_layer(attributes, each.layers_name, index_name(family))
        for family in FAMILIES
        for each in layer_arrays(family)
        if each.layer_array is not None and each.layer_array.heading
    }
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("layer", justify="right")
    for name, values in columns.items():
        if values:
            table.add_column(name, justify="right")
    table.add_column("NaN, inf", justify="right")
    for layer, count in zip(layers, counts, strict=False):
        cells = [f"{values[layer]:.4g}" if layer in values else "-" for values in columns.values() if values]
        table.add_row(str(layer), *cells, Text(str(count), "bold red" if count else ""))
    norms = _by_layer(attributes, semconv.LAYERS_L2_NORM, semconv.LAYERS_NORM_INDEX)
    line = Text(f"L2 norms, first to last layer  {sparkline(list(norms.values()), 60)}", "dim") if norms else Text("")
    return Group(table, line)


def _by_layer(attributes: Mapping[str, Any], name: str, index: str) -> dict[int, float]:
    values = attributes.get(name) or ()
    return dict(zip(attributes.get(index) or range(len(values)), values, strict=False))
