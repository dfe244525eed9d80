"""A run's prompt analysis for its page: a map of basin scores, tables of layers and tokens, who looked where."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...._internal.prompt_analysis import NEGLECTED_BELOW, PromptAnalysis
from ...panel import sparkline
from ...prompt_text import absences, attended_tokens, first_note, layer_figures, surprising_tokens
from ...shapes import RunShape
from ..page_formats import NOTHING, number

_MOST_CELLS: Final = 8192
_MOST_KEPT: Final = 200_000
"""Connections that a page has: beyond that it would be megabytes."""
_EDGES: Final = (0.125, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0, 8.0)
"""Basin scores between the shades, alike on both sides of 1."""
SHADES: Final = len(_EDGES) + 1
_BARS: Final = 60


def prompt_view(run: RunShape) -> dict[str, Any] | None:
    """Return what the template shows of a prompt; None where it was not analysed."""
    found = run.prompt_analysis
    if found is None:
        return None
    scores = found.basin_by_layer()
    known = 0 if scores is None else int(np.isfinite(scores).sum())
    return {
        "facts": _facts(found),
        "note": first_note(found),
        "bars": "" if found.surprisal is None else sparkline(found.surprisal.tolist(), _BARS),
        "surprising": [(token, NOTHING if bits is None else number(bits)) for token, bits in surprising_tokens(found)],
        "map": _map(found.basin),
        "neglected": found.neglected_layers(),
        "below": NEGLECTED_BELOW,
        "layers_known": known,
        "layers": _layers(found),
        "attended": [(each.token, each.heads, number(each.weight)) for each in attended_tokens(found)],
        "connections": _connections(found),
        "absent": absences(found),
    }


def _facts(found: PromptAnalysis) -> list[tuple[str, str]]:
    scores = found.basin_by_layer()
    means = None if scores is None or not np.isfinite(scores).any() else float(np.nanmean(scores))
    values = (
        ("mean surprisal", found.surprisal_mean, " bit"),
        ("largest surprisal", found.surprisal_max, " bit"),
        ("mean basin score", means, ""),
    )
    return [(name, f"{number(value)}{unit}") for name, value, unit in values if value is not None]


def _map(basin: NDArray[Any] | None) -> dict[str, Any] | None:
    """Return the cells of each shade as one path of unit squares, heads to the right and layers down."""
    if basin is None or basin.shape[1] < 2 or basin.size > _MOST_CELLS:
        return None
    shades = np.searchsorted(_EDGES, basin, side="right")
    known = np.isfinite(basin)
    paths = []
    for shade in range(SHADES):
        cells = np.argwhere((shades == shade) & known).tolist()
        paths.append("".join(f"M{head} {layer}h1v1h-1z" for layer, head in cells))
    return {"layers": len(basin), "heads": basin.shape[1], "paths": paths}


def _layers(found: PromptAnalysis) -> dict[str, Any] | None:
    rows = [_row(each) for each in layer_figures(found)]
    head = ("layer", "transformation", "basin score", "lowest head", "its score")
    return {"head": head, "rows": rows, "left_out": 0} if rows else None


def _row(figures: Mapping[str, float | int | None]) -> Sequence[str]:
    return [NOTHING if value is None else number(value) for value in figures.values()]


def _connections(found: PromptAnalysis) -> dict[str, Any] | None:
    kept = found.connections
    if kept is None or kept.index.size > _MOST_KEPT or not (kept.index >= 0).any():
        return None
    weights = np.where(np.isfinite(kept.weight), kept.weight, 0.0).astype(np.float64).round(4)
    return {"index": kept.index.tolist(), "weight": weights.tolist()}
