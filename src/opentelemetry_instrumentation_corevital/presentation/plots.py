"""A run's timelines and layers as a figure of matplotlib, which is drawn without a screen and without pyplot."""

from collections.abc import Sequence
from difflib import get_close_matches
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from .._internal.printable import one_line
from .heat_map import DEFAULT, LayerMap, layer_map
from .heat_map import SIGNALS as LAYER_SIGNALS
from .shapes import RunShape
from .timeline import SIGNALS as STEP_SIGNALS
from .timeline import Line, first_marks, lines, marks_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DEFAULT_LINES: Final = ("entropy", "surprisal", "margin")
_DEFAULT_MAPS: Final = 2
_WIDTH: Final = 9.0
_LINE_HEIGHT: Final = 1.4
_MAP_HEIGHT: Final = 2.4
_TOP: Final = 0.7
"""Inches, as the others."""
_MOST_LINE: Final = 120
_MOST_MARKS: Final = 12
_MARK: Final = "#c62828"
_FAULT: Final = "#e53935"


def figure(run: RunShape, signals: Sequence[str] = ()) -> "Figure":
    """Return a figure with one axis for each signal, over the steps.

    Args:
        run: the run.
        signals: names of timelines, such as `entropy`, and of signals of layers, such as `hidden_l2_norm`; none: those
            that tell the most.

    Raises:
        ImportError: where matplotlib is not installed.
        ValueError: for a signal that there is not, or that the run does not have.
    """
    new_figure = _import_figure()
    drawn = _chosen(run, signals)
    heights = [_LINE_HEIGHT if isinstance(each, Line) else _MAP_HEIGHT for each in drawn]
    made = new_figure(figsize=(_WIDTH, _TOP + sum(heights)), layout="constrained")
    begun = first_marks(run, _MOST_MARKS)
    made.suptitle("\n".join([_title(run), *_said(begun)]), fontsize="small")
    axes = made.subplots(len(drawn), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, each in zip(axes, drawn, strict=True):
        if isinstance(each, Line):
            _draw_line(axis, each)
        else:
            _draw_map(axis, each)
        for step, _ in begun:
            axis.axvline(step, color=_MARK, linestyle=":", linewidth=1)
    axes[-1].set_xlabel("step")
    return made


def _chosen(run: RunShape, signals: Sequence[str]) -> list[Line | LayerMap]:
    known = {line.signal: line for line in lines(run)}
    asked = signals or [
        *(name for name in _DEFAULT_LINES if name in known),
        *[name for name in DEFAULT if _map(run, name) is not None][:_DEFAULT_MAPS],
    ]
    if not asked:
        raise ValueError("there is nothing to plot: the run has no steps and no layers")
    return [_one(run, known, name) for name in asked]


def _one(run: RunShape, known: dict[str, Line], name: str) -> Line | LayerMap:
    if name not in STEP_SIGNALS and name not in LAYER_SIGNALS:
        there = [*STEP_SIGNALS, *LAYER_SIGNALS]
        near = get_close_matches(name, there, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"no signal {name!r}{hint} There are {', '.join(there)}")
    found = known.get(name) or _map(run, name)
    if found is None:
        raise ValueError(
            f"the run has no {name}: it was not measured, or of a stored run not kept; "
            "layers of every step are stored with capture=full or run_data=on"
        )
    return found


def _map(run: RunShape, name: str) -> LayerMap | None:
    found = layer_map(run.columns, name) if name in LAYER_SIGNALS else None
    return found if found is not None and found.steps.size else None


def _title(run: RunShape) -> str:
    summary = run.summary
    risk = "risk not judged" if summary.risk_score is None else f"risk {summary.risk_score:.2f} {summary.risk_level}"
    return f"{_plain(summary.model or 'unknown model')}: {_plain(risk)}"


def _said(begun: Sequence[tuple[int, str]]) -> list[str]:
    """Return what the dotted lines are; names beside them would lie on each other."""
    said = wrap(f"dotted: {marks_text(begun)}", _MOST_LINE) if begun else []
    return [_plain(line) for line in said]


def _draw_line(axis: "Axes", line: Line) -> None:
    axis.plot(np.asarray(line.steps), np.asarray(line.values), linewidth=1.2)
    axis.set_ylim(bottom=min(0.0, line.low))
    axis.set_title(line.title, loc="left", fontsize="small")
    axis.set_ylabel(line.unit, fontsize="small")
    axis.grid(alpha=0.25)


def _draw_map(axis: "Axes", found: LayerMap) -> None:
    edges = _edges(found.steps)
    layers = np.arange(found.values.shape[1] + 1) - 0.5
    mesh = axis.pcolormesh(edges, layers, found.values.T, cmap="viridis", shading="flat", rasterized=True)
    bad_steps, bad_layers = np.nonzero(found.faulty)
    if bad_steps.size:
        axis.scatter(found.steps[bad_steps], bad_layers, marker="s", s=9, color=_FAULT, label="NaN or infinity")
        axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderpad=0, fontsize="x-small")
    axis.invert_yaxis()
    axis.set_title(found.title, loc="left", fontsize="small")
    axis.set_ylabel("layer", fontsize="small")
    bar = axis.figure.colorbar(mesh, ax=axis, pad=0.01)
    if found.relative:
        bar.set_label("log of value / layer's median", fontsize="x-small")


def _edges(steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where the cells of steps begin and end: a step that was not measured is covered by the one before."""
    return np.append(steps, steps[-1] + 1).astype(np.float64) - 0.5


def _plain(text: str) -> str:
    """Return foreign text without what matplotlib would set as a formula."""
    return one_line(text, _MOST_LINE).replace("$", r"\$")


def _import_figure() -> "type[Figure]":
    try:
        from .run_figure import RunFigure
    except ImportError as error:
        raise ImportError(
            "matplotlib is not installed: pip install 'opentelemetry-instrumentation-corevital[plot]'"
        ) from error
    return RunFigure
