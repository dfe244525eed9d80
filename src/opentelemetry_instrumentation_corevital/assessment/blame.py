"""Which layers stand out, and why.

A healthy run blames nobody, and where a layer is blamed, `layer_anomaly_detected` is raised.

- Not finite: the layers in which values were not finite while those of the layer before were. There it began. Severity
  1.
- Deviation, where the model has a baseline: the layers that are out in a run that is beyond its limit, the one in which
  it began first (`deviation.where_it_began`). Its severity grows from 0.45 at the limit to 0.9 at twice that, the
  others' is half.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..run import BlamedLayer, Deviation, Run
from .deviation import deviations, where_it_began
from .layer_findings import not_finite
from .thresholds import DEFAULT, Thresholds

_REASONS: Final = {
    "log2_gain": "norm grows or shrinks unusually",
    "layer_transformation": "turns its input unusually",
    "attention_entropy": "attention spread unusually",
    "attention_entropy_change": "attention spread changed unusually",
    "collapsed_head_rate": "heads collapsed",
}


NOT_FINITE: Final = "values not finite"


def judge_blame(run: Run, thresholds: Thresholds = DEFAULT) -> tuple[BlamedLayer, ...] | None:
    """Return the layers that stand out, the worst first; None where no layer was measured."""
    if all(run.counts(name) is None for name in ("hidden_nan", "collapsed_head_rate")):
        return None
    known = None if run.health is None else run.health.deviations
    found = deviations(run, thresholds) if known is None else known
    blamed = {each.layer: each for each in (*_deviating(found or ()), *_nonfinite(run))}  # the graver reason stays
    return tuple(sorted(blamed.values(), key=lambda each: (-each.severity, each.evidence["step"], each.layer)))


def _nonfinite(run: Run) -> list[BlamedLayer]:
    bad = not_finite(run)
    if bad is None:
        return []
    began = bad.copy()
    began[:, 1:] &= ~bad[:, :-1]
    counts = {name: run.counts(f"hidden_{name}") for name in ("nan", "inf")}
    blamed = []
    for layer in np.flatnonzero(began.any(0)).tolist():
        step = int(np.flatnonzero(began[:, layer])[0])
        numbers = {name: int(count[step, layer]) for name, count in counts.items() if count is not None}
        blamed.append(BlamedLayer(layer, NOT_FINITE, 1.0, {"step": step, **numbers}))
    return blamed


def _deviating(found: Sequence[Deviation]) -> list[BlamedLayer]:
    return [
        BlamedLayer(
            each.layer,
            _reason(each),
            round(min(0.9, 0.45 * each.strength) * (0.5 if position else 1.0), 4),
            each.evidence(),
        )
        for position, each in enumerate(where_it_began(found))
    ]


def _reason(each: Deviation) -> str:
    fewer = each.signal == "collapsed_head_rate" and each.value < each.usual
    return _REASONS["attention_entropy" if fewer else each.signal]
