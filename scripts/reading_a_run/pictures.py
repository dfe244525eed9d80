"""Draws a signal of a healthy run beside that of one that went wrong."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from cases import Made
from matplotlib.figure import Figure
from PIL import Image

from opentelemetry_instrumentation_corevital.catalogue.signal import Signal

_INK, _LINE, _MARK = "#16202e", "#2457d6", "#c0232c"
_SIZE = (9.0, 2.3)
_LOG_RATIO = 30
"""A map whose values differ by more than this is drawn by their logarithms."""


def draw(signal: Signal, healthy: Made, bad: Made, path: Path, mark: int | None) -> bool:
    """Write the picture; return whether there was something to draw.

    Args:
        signal: what is drawn.
        healthy: the run on the left.
        bad: the run on the right.
        path: of the PNG.
        mark: a step of the bad run at which a line stands.
    """
    pair = [made.run.column(signal.name) for made in (healthy, bad)]
    if any(values is None or not np.isfinite(values).any() for values in pair):
        return False
    figure = Figure(figsize=_SIZE, dpi=100, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    shape = _draw_lines if signal.shape == "step" else _draw_maps
    shape(axes, [np.asarray(values, dtype=np.float64) for values in pair], signal)
    for axis, made in zip(axes, (healthy, bad), strict=True):
        axis.set_title(made.case.title, fontsize=9, loc="left", color=_INK)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
    if mark is not None:
        axes[1].axvline(mark, color=_MARK, linewidth=1.2, linestyle=":")
    _save(figure, path)
    return True


def _draw_lines(axes: Any, pair: list[Any], signal: Signal) -> None:
    for axis, values in zip(axes, pair, strict=True):
        axis.plot(np.arange(len(values)), values, color=_LINE, linewidth=1.0)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel(f"{signal.name}{'' if signal.unit == '1' else f', {signal.unit}'}", fontsize=8)


def _draw_maps(axes: Any, pair: list[Any], signal: Signal) -> None:
    finite = np.concatenate([values[np.isfinite(values)] for values in pair])
    positive = finite[finite > 0]
    logarithmic = positive.size == finite.size and np.quantile(finite, 0.99) > _LOG_RATIO * np.quantile(finite, 0.01)
    shown = [np.log10(np.where(values > 0, values, np.nan)) if logarithmic else values for values in pair]
    low, high = np.nanquantile(np.concatenate([each[np.isfinite(each)] for each in shown]), [0.01, 0.99])
    for axis, values in zip(axes, shown, strict=True):
        known = np.flatnonzero(np.isfinite(values).any(axis=1) | (np.arange(len(values)) == 0))
        steps = np.append(known, len(values)) - 0.5
        mesh = axis.pcolormesh(
            steps,
            np.arange(values.shape[1] + 1) - 0.5,
            np.ma.masked_invalid(values[known]).T,
            cmap="viridis",
            vmin=low,
            vmax=high,
        )
        axis.set_facecolor("#e8a0a0")
        axis.invert_yaxis()
    axes[0].set_ylim(pair[0].shape[1] - 0.5, -0.5)
    axes[0].set_ylabel("layer", fontsize=8)
    bar = axes[0].figure.colorbar(mesh, ax=list(axes), pad=0.01)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(f"{signal.name}{', log10' if logarithmic else ''}", fontsize=7)


def _save(figure: Figure, path: Path) -> None:
    """Write a picture with a palette: a fourth of the size."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(content).convert("RGB").quantize(64).save(path, optimize=True)
