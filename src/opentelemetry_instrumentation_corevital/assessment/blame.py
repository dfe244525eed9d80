"""Which layers stand out, and why.

A healthy run blames nobody.

- NaN, infinity: the layers in which values were not finite while the layer before had none. There they began.
  Severity 1.
- deviation, where the model has a baseline profile: the layers that are further out than the model's healthy runs go,
  the one in which it began first (`deviation.where_it_began`). Its severity grows from 0.45 at the threshold to 0.9 at
  twice that, the others' is half.
- anomaly, without a profile: the neighbouring layers whose norms stand out together at the anomaly's step. The first of
  them is where it began: its severity grows with the robust z, from 0.45 at the threshold to 0.9 at twice that, the
  others' is half.
- collapse: the layers whose fraction of collapsed heads has risen over the run's first steps. Severity is the rise, at
  most 0.8.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ..run import BlamedLayer, Deviation, Run
from .deviation import deviations, where_it_began
from .layer_findings import anomaly, collapse, moving_means
from .thresholds import DEFAULT, Thresholds

_REASONS: Final = {
    "log2_gain": "norm grows or shrinks unusually",
    "layer_transformation": "turns its input unusually",
    "attention_entropy": "attention spread unusually",
    "attention_entropy_change": "attention spread changed unusually",
    "collapsed_head_rate": "heads collapsed",
}


def judge_blame(run: Run, thresholds: Thresholds = DEFAULT) -> tuple[BlamedLayer, ...] | None:
    """Return the layers that stand out, the worst first; None where no layer was measured."""
    if all(run.counts(name) is None for name in ("hidden_nan", "collapsed_head_rate")):
        return None
    flags = {} if run.health is None else run.health.flags()
    deviating = deviations(run, thresholds) if run.health is None else run.health.deviations
    found = _nonfinite(run)
    if deviating is not None:
        found += _deviating(deviating)
    elif not thresholds.needs_baseline:
        found += _norms(run, thresholds)
    if flags.get("attention_collapse_detected") and not deviating:
        found += _collapsed(run, thresholds)
    return tuple(sorted(found, key=lambda blamed: (-blamed.severity, blamed.evidence["step"], blamed.layer)))


def _nonfinite(run: Run) -> list[BlamedLayer]:
    nan, inf = run.counts("hidden_nan"), run.counts("hidden_inf")
    if nan is None or inf is None:
        return []
    bad = nan + inf > 0  # false where they were not counted: NaN
    began = bad.copy()
    began[:, 1:] &= ~bad[:, :-1]
    blamed = []
    for layer in np.flatnonzero(began.any(0)).tolist():
        step = int(np.flatnonzero(began[:, layer])[0])
        numbers: dict[str, Any] = {"step": step, "nan": int(nan[step, layer]), "inf": int(inf[step, layer])}
        blamed.append(BlamedLayer(layer, "values not finite", 1.0, numbers))
    return blamed


def _deviating(found: Sequence[Deviation]) -> list[BlamedLayer]:
    return [
        BlamedLayer(
            each.layer,
            _REASONS[each.signal],
            round(min(0.9, 0.45 * each.strength) * (0.5 if position else 1.0), 4),
            each.evidence(),
        )
        for position, each in enumerate(where_it_began(found))
    ]


def _norms(run: Run, thresholds: Thresholds) -> list[BlamedLayer]:
    found = anomaly(run, thresholds)
    if found is None:
        return []
    blamed = []
    for position, outlier in enumerate(found[1]):
        severity = min(0.9, 0.45 * outlier.z / thresholds.norm_outlier) * (0.5 if position else 1.0)
        blamed.append(BlamedLayer(outlier.layer, "norm outlier", round(severity, 4), outlier.evidence()))
    return blamed


def _collapsed(run: Run, thresholds: Thresholds) -> list[BlamedLayer]:
    found = collapse(run, thresholds)
    if found is None:
        return []
    steps, rates = found
    means = moving_means(rates, thresholds.collapse_steps)
    blamed = []
    for layer in range(means.shape[1]):
        rise = means[:, layer] - means[0, layer]
        if np.isnan(rise).all():
            continue
        worst = int(np.nanargmax(rise))
        if rise[worst] > thresholds.layer_collapse_rise:
            numbers = {
                "step": int(steps[worst + thresholds.collapse_steps - 1]),
                "rate": _rounded(means[worst, layer]),
                "before": _rounded(means[0, layer]),
            }
            blamed.append(BlamedLayer(layer, "heads collapsed", round(min(0.8, float(rise[worst])), 4), numbers))
    return blamed


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
