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
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.profile import Spreads
from ..baselines.profiled_signals import WINDOW, Values, layer_signals, windows
from ..run import Deviation, Run
from .thresholds import Thresholds

OUTPUT_SIGNALS: Final = ("log2_gain", "layer_transformation")
"""What a layer adds to the residual stream."""

ATTENTION_SIGNALS: Final = ("attention_entropy", "collapsed_head_rate")
"""How a layer's heads spread their attention: compared over windows only. The fraction of collapsed heads is 0 in most
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
    if found and thresholds.limit is not None and not thresholds.limit.is_exceeded_by(run):
        return []
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
    for layer, at in _stretches(far, medians > spreads.windows.centre):
        worst, usual = at[out[at, layer].argmax()], float(spreads.windows.centre[layer])
        yield Deviation(
            layer=layer,
            step=_window_onset(values[: ends[at[0]], layer], int(starts[at[0]]), usual, float(medians[at[0], layer])),
            signal=name,
            value=float(medians[worst, layer]),
            usual=usual,
            excess=float(out[worst, layer]),
            threshold=thresholds.window_excess,
        )
    if name not in OUTPUT_SIGNALS:
        return
    later = values[1:]
    far = spreads.steps.beyond(later, thresholds.step_excess)
    out = spreads.steps.excess(later) if far.any() else later
    for layer, at in _stretches(far, later > spreads.steps.centre):
        worst = at[out[at, layer].argmax()]
        yield Deviation(
            layer=layer,
            step=int(at[0]) + 1,
            signal=name,
            value=float(later[worst, layer]),
            usual=float(spreads.steps.centre[layer]),
            excess=float(out[worst, layer]),
            threshold=thresholds.step_excess,
        )


def _of_change(changes: Values, entropy: Values, spreads: Spreads, thresholds: Thresholds) -> Iterator[Deviation]:
    """Yield the largest of changes at steps in a row, dated by the entropy [steps, layers] that changed."""
    far = spreads.steps.beyond(changes, thresholds.change_excess)
    out = spreads.steps.excess(changes) if far.any() else changes
    for layer, at in _stretches(far, changes > 0):
        step = int(at[out[at, layer].argmax()])
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


def _stretches(far: NDArray[np.bool_], above: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each layer and the places in a row at which it is far out on the same side."""
    for layer in np.flatnonzero(far.any(0)).tolist():
        places = np.flatnonzero(far[:, layer])
        breaks = (np.diff(places) > 1) | np.diff(above[places, layer])
        for at in np.split(places, np.flatnonzero(breaks) + 1):
            yield layer, at


def _window_onset(values: Values, start: int, usual: float, median: float) -> int:
    """Return the step at which a layer's values [steps] left what is usual, given the first window that is out.

    That is in the window, with which the values end, or before it: there up to half of its samples may be out unseen.
    """
    seen = np.flatnonzero(np.isfinite(values[1:])) + 1
    seen = seen[max(0, int(np.searchsorted(seen, start)) - WINDOW // 2) :]
    return int(seen[_onset(values[seen], usual, median)])


def _onset(values: Values, base: float, level: float) -> int:
    """Return the index of the first value that is at least half as far from a base as a level is, on its side."""
    with np.errstate(invalid="ignore"):
        return int((np.sign(level - base) * (values - base) >= abs(level - base) / 2).argmax())


def where_it_began(found: Sequence[Deviation]) -> list[Deviation]:
    """Return the strongest deviation of each layer, dated by the layer's first, the layer where it began first.

    That is the shallowest of those that stand out earliest: what a layer does reaches later layers at the same step,
    and earlier ones, through the text, at later steps. The others follow by strength.
    """
    strongest: dict[int, Deviation] = {}
    for each in found:
        best = strongest.get(each.layer, each)
        stronger = each if each.strength > best.strength else best
        strongest[each.layer] = replace(stronger, step=min(each.step, best.step))
    if not strongest:
        return []
    first = min(strongest.values(), key=lambda each: (each.step, each.layer))
    others = sorted((each for each in strongest.values() if each is not first), key=lambda d: (-d.strength, d.layer))
    return [first, *others]
