"""Timelines and layers of a run as small pictures for a notebook: SVG and PNG in the text, nothing to load."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from .._internal.png import png
from .escaped import escaped
from .heat_map import COLOURS, DEFAULT, LayerMap, buckets, layer_map, value_range
from .shapes import RunShape
from .timeline import HEIGHT, WIDTH, Line, lines, marks_text

_SIGNALS: Final = ("entropy", "surprisal")
_MOST_POINTS: Final = 90
_MOST_NAMES: Final = 300

_MAPS: Final = 2
_COLUMNS: Final = 64
_ROWS: Final = 24
_SHADES: Final = 13
_BAD: Final = _SHADES
_CLEAR: Final = _SHADES + 1
_RED: Final = (229, 57, 53)
_ROW_PIXELS: Final = 4


def line_pictures(run: RunShape, begun: Sequence[tuple[int, str]]) -> str:
    """Return the run's entropy and surprisal over its steps.

    Args:
        run: the run.
        begun: steps at which something began, each with its name.
    """
    known = {line.signal: line for line in lines(run)}
    found = [known[name] for name in _SIGNALS if name in known] or _of_series(run.attributes)
    if not found:
        return ""
    last = max(1, *(line.steps[-1] for line in found))
    at = [(step, name) for step, name in begun if 0 <= step <= last]
    dashes = "".join(f'<path class="mark" d="M{step * WIDTH / last:.0f} -4v{HEIGHT + 8}"/>' for step, _ in at)
    names = escaped(marks_text(at), _MOST_NAMES)
    return "".join(_figure(line, last, dashes) for line in found) + (f"<p>Dashed: {names}.</p>" if at else "")


def _figure(line: Line, last: int, dashes: str) -> str:
    scale = f"{line.title}, {line.low:.3g} to {line.high:.3g} {line.unit}, steps 0 to {last}"
    box = f'viewBox="0 -4 {WIDTH} {HEIGHT + 8}" preserveAspectRatio="none" role="img" aria-label="{line.title}"'
    path = f'<path d="{line.path(last, _MOST_POINTS, digits=0)}"/>'
    return f"<figure><figcaption>{scale}</figcaption><svg {box}>{path}{dashes}</svg></figure>"


def _of_series(attributes: Mapping[str, Any]) -> list[Line]:
    """Return the entropy of a run whose steps are not stored, from the points that its span has."""
    points = attributes.get(semconv.SERIES_ENTROPY)
    if not points:
        return []
    total = attributes.get(semconv.STEPS_TOTAL)
    last = max(len(points), total if isinstance(total, int) else 0) - 1
    steps = np.linspace(0, last, len(points)).astype(int).tolist()
    return [Line("entropy", "entropy", "bit", steps, [float(each) for each in points])]


def layer_pictures(columns: Mapping[str, NDArray[Any]]) -> str:
    """Return the maps of layers x steps that tell the most."""
    maps = (layer_map(columns, name) for name in DEFAULT if name in columns)
    return "".join(_map(each) for each in [found for found in maps if found is not None and found.steps.size][:_MAPS])


def _map(found: LayerMap) -> str:
    cells = _narrowed(found.values)
    faults = _narrowed(found.faulty.astype(np.float64)) > 0
    low, high = value_range(cells)
    fraction = (cells - low) / (high - low) if high > low else np.where(np.isnan(cells), np.nan, 0.0)
    codes = np.where(np.isnan(fraction), _CLEAR, np.round(np.nan_to_num(fraction) * (_SHADES - 1))).astype(np.uint8)
    codes[faults] = _BAD
    ends = np.exp([low, high]) if found.relative else (low, high)
    scale = f"{found.title}: dark {ends[0]:.3g} to bright {ends[1]:.3g}{', logarithmic' if found.relative else ''}"
    layers = found.values.shape[1]
    where = f"layers 0 (top) to {layers - 1}, steps {found.steps[0]} to {found.steps[-1]}"
    red = "; red: NaN or infinity" if faults.any() else ""
    picture = base64.b64encode(png(codes.T, [*_palette(), _RED, (0, 0, 0)], clear=_CLEAR)).decode("ascii")
    size = f'style="height:{_ROW_PIXELS * codes.shape[1]}px" alt="{scale}"'
    source = f"data:image/png;base64,{picture}"
    return f'<figure><figcaption>{scale}; {where}{red}</figcaption><img {size} src="{source}"></figure>'


def _narrowed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values [steps, layers] of few columns and rows: of each bucket the most telling one."""
    return buckets(buckets(values, _COLUMNS).T, _ROWS).T


def _palette() -> list[tuple[int, int, int]]:
    known = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in COLOURS], np.float64)
    at = np.linspace(0, len(known) - 1, _SHADES)
    mixed = np.stack([np.interp(at, np.arange(len(known)), part) for part in known.T], axis=1)
    return [(int(red), int(green), int(blue)) for red, green, blue in mixed.round()]
