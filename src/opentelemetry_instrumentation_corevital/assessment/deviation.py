"""Where a run's layers leave what is usual for the model: shared by the health flags and by the blame.

A layer is compared with itself in healthy runs (the model's baseline profile), never with other layers. What counts is
its own doing: the gain of the norm and the turn that it adds to the residual stream, and how its attention is spread.
The norm itself is carried on to all later layers. `Spread.excess` says how far out a number is.

Attention differs more between kinds of text than from one window of a text to the next. So a layer is also compared
with itself just before: a fault that leaves its attention within what is usual for some text still changes it at once.

A single step has to be further out than a window's median, since a healthy layer reacts to single tokens ("massive
activations", Sun et al. 2024, arXiv 2402.17762). What was found in a window is dated by the first step in it that is
half as far out. The run's first step is left out: a prompt of one token ends on the model's own sink. Once a value was
not finite, what follows is its consequence and is not judged.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from ..calibration.profile import Spreads
from ..calibration.signals import WINDOW, Values, layer_signals, windows
from ..run import Deviation, Run
from .thresholds import Thresholds

OUTPUT_SIGNALS: Final = ("log2_gain", "layer_transformation")
"""What a layer adds to the residual stream."""

ATTENTION_SIGNALS: Final = ("attention_entropy", "collapsed_head_rate")
"""How a layer's heads spread their attention: compared over windows only. The share of collapsed heads is 0 in most
healthy layers, so it also has to have risen by `layer_collapse_rise`."""

CHANGE: Final = "attention_entropy_change"
_ALL: Final = (*OUTPUT_SIGNALS, *ATTENTION_SIGNALS, CHANGE)


def deviations(run: Run, thresholds: Thresholds) -> list[Deviation] | None:
    """Return what is further out than the thresholds allow; None where there is nothing to compare with."""
    profile = thresholds.profile
    if profile is None:
        return None
    values, end = layer_signals(run, _ALL), first_nonfinite(run)
    found: list[Deviation] = []
    compared = False
    for name in _ALL:
        spreads = profile.layers.get(name)
        if name not in values or spreads is None or values[name].shape[1] != len(spreads.steps.centre):
            continue
        compared = True
        if name == CHANGE:
            found += _of_change(values[name][:end], values["attention_entropy"][:end], spreads, thresholds)
        else:
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
            bad |= (run.columns[name] > 0).any(1)
    return int(bad.argmax()) if bad.any() else run.steps


def _of_signal(name: str, values: Values, spreads: Spreads, thresholds: Thresholds) -> Iterator[Deviation]:
    starts, medians = windows(values)
    far = spreads.windows.beyond(medians, thresholds.window_excess)
    if name == "collapsed_head_rate":
        far &= medians - spreads.windows.centre > thresholds.layer_collapse_rise
    out = spreads.windows.excess(medians) if far.any() else medians
    ends = [*starts[1:].tolist(), len(values)]
    for window, layer in np.argwhere(far).tolist():
        value, usual = float(medians[window, layer]), float(spreads.windows.centre[layer])
        first = max(1, int(starts[window]) - WINDOW // 2)  # of a window before it less than half may be out
        yield Deviation(
            layer=layer,
            step=first + _onset(values[first : ends[window], layer], usual, value),
            signal=name,
            value=value,
            usual=usual,
            excess=float(out[window, layer]),
            threshold=thresholds.window_excess,
        )
    if name not in OUTPUT_SIGNALS:
        return
    far = spreads.steps.beyond(values[1:], thresholds.step_excess)
    out = spreads.steps.excess(values[1:]) if far.any() else values
    for step, layer in np.argwhere(far).tolist():
        yield Deviation(
            layer=layer,
            step=step + 1,
            signal=name,
            value=float(values[step + 1, layer]),
            usual=float(spreads.steps.centre[layer]),
            excess=float(out[step, layer]),
            threshold=thresholds.step_excess,
        )


def _of_change(changes: Values, entropy: Values, spreads: Spreads, thresholds: Thresholds) -> Iterator[Deviation]:
    """Yield the largest of changes at steps in a row, dated by the entropy [steps, layers] that changed."""
    far = spreads.steps.beyond(changes, thresholds.change_excess)
    out = spreads.steps.excess(changes) if far.any() else changes
    for layer in np.flatnonzero(far.any(0)).tolist():
        steps = np.flatnonzero(far[:, layer])
        for run in np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1):
            step = int(run[out[run, layer].argmax()])
            before, after = (entropy[step - end : step - end + WINDOW, layer] for end in (2 * WINDOW - 1, WINDOW - 1))
            level = after.max() if changes[step, layer] > 0 else after.min()
            yield Deviation(
                layer=layer,
                step=step - WINDOW + 1 + _onset(after, float(before.mean()), float(level)),
                signal=CHANGE,
                value=float(changes[step, layer]),
                usual=float(spreads.steps.centre[layer]),
                excess=float(out[step, layer]),
                threshold=thresholds.change_excess,
            )


def _onset(values: Values, base: float, level: float) -> int:
    """Return the index of the first value that is at least half as far from a base as a level is, on its side."""
    with np.errstate(invalid="ignore"):
        return int((np.sign(level - base) * (values - base) >= abs(level - base) / 2).argmax())


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
