"""Where a run's layers leave what is usual for the model: shared by the health flags and by the blame.

A layer is compared with itself in healthy runs (the model's baseline profile), never with other layers. What counts is
its own doing: the gain of the norm and the turn that it adds to the residual stream, and how its attention is spread.
The norm itself is carried on to all later layers. `Spread.excess` says how far out a number is.

A single step has to be further out than a window's median, since a healthy layer reacts to single tokens ("massive
activations", Sun et al. 2024, arXiv 2402.17762). The first step is left out: a prompt of one token ends on the model's
own sink. Once a value was not finite, what follows is its consequence and is not judged.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from ..calibration.profile import Spreads
from ..calibration.signals import Values, layer_signals, windows
from ..run import Deviation, Run
from .thresholds import Thresholds

OUTPUT_SIGNALS: Final = ("log2_gain", "layer_transformation")
"""What a layer adds to the residual stream."""

ATTENTION_SIGNALS: Final = ("attention_entropy", "collapsed_head_rate")
"""How a layer's heads spread their attention: compared over windows only. The share of collapsed heads is 0 in most
healthy layers, so it also has to have risen by `layer_collapse_rise`."""


def deviations(run: Run, thresholds: Thresholds) -> list[Deviation] | None:
    """Return what is further out than the thresholds allow; None where there is nothing to compare with."""
    profile = thresholds.profile
    if profile is None:
        return None
    values, end = layer_signals(run, (*OUTPUT_SIGNALS, *ATTENTION_SIGNALS)), first_nonfinite(run)
    found: list[Deviation] = []
    compared = False
    for name in (*OUTPUT_SIGNALS, *ATTENTION_SIGNALS):
        spreads = profile.layers.get(name)
        if name not in values or spreads is None or values[name].shape[1] != len(spreads.steps.centre):
            continue
        compared = True
        found += _of_signal(name, values[name][:end], spreads, thresholds)
    return found if compared else None


def first_nonfinite(run: Run) -> int:
    """Return the first step at which something was not finite; the number of steps where all was."""
    bad = np.zeros(run.steps, bool)
    for name in ("logits_nan", "logits_posinf"):
        if name in run.columns:
            bad |= run.columns[name] > 0
    for name in ("hidden_nan", "hidden_inf"):
        if name in run.columns:
            bad |= (np.nan_to_num(run.columns[name]) > 0).any(1)
    return int(bad.argmax()) if bad.any() else run.steps


def _of_signal(name: str, values: Values, spreads: Spreads, thresholds: Thresholds) -> Iterator[Deviation]:
    starts, medians = windows(values)
    out = spreads.windows.excess(medians)
    far = out > thresholds.window_excess
    if name == "collapsed_head_rate":
        far &= medians - spreads.windows.centre > thresholds.layer_collapse_rise
    for window, layer in np.argwhere(far).tolist():
        yield Deviation(
            layer=layer,
            step=int(starts[window]),
            signal=name,
            value=float(medians[window, layer]),
            usual=float(spreads.windows.centre[layer]),
            excess=float(out[window, layer]),
            threshold=thresholds.window_excess,
            window=True,
        )
    if name not in OUTPUT_SIGNALS:
        return
    out = spreads.steps.excess(values[1:])
    for step, layer in np.argwhere(out > thresholds.step_excess).tolist():
        yield Deviation(
            layer=layer,
            step=step + 1,
            signal=name,
            value=float(values[step + 1, layer]),
            usual=float(spreads.steps.centre[layer]),
            excess=float(out[step, layer]),
            threshold=thresholds.step_excess,
            window=False,
        )


def where_it_began(found: Sequence[Deviation]) -> list[Deviation]:
    """Return one deviation of each layer, the layer where it began first.

    That is the shallowest of those that stand out earliest: what a layer does reaches later layers at the same step,
    and earlier ones, through the text, at later steps. The others follow by strength.
    """
    earliest: dict[int, int] = {}
    strongest: dict[int, Deviation] = {}
    for each in found:
        earliest[each.layer] = min(each.step, earliest.get(each.layer, each.step))
        best = strongest.get(each.layer)
        if best is None or each.strength > best.strength:
            strongest[each.layer] = each
    if not strongest:
        return []
    first = min(strongest, key=lambda layer: (earliest[layer], layer))
    others = sorted((each for layer, each in strongest.items() if layer != first), key=lambda d: (-d.strength, d.layer))
    return [strongest[first], *others]
