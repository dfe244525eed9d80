"""Where a run's layers leave what is usual for the model: shared by the health flags and by the blame.

A layer is compared with itself in healthy runs (the model's baseline), never with other layers. What counts is its own
doing: the gain of the norm and the turn that it adds to the residual stream, and how its attention is spread. The norm
itself is carried on to all later layers.

One number per run decides whether anything stands out: the largest excess of its windows over layers and signals
(`baselines/run_numbers.py`), against a limit that so many healthy runs stay below. Only in a run beyond the limit a
layer is out, wherever a window of it is as far out as the limit. What was found in a window is dated by the first step
that is half as far out. The run's first step is left out: a prompt of one token ends on the model's own sink. Once a
value was not finite, what follows is its consequence and is not judged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..baselines.profiled_signals import WINDOW, Values, layer_signals
from ..baselines.run_numbers import ColumnName, RunLimit, place_of, run_number
from ..baselines.windowed import Part, parts
from ..run import Deviation, Run
from .thresholds import Thresholds

OUTPUT_SIGNALS: Final = ("log2_gain", "layer_transformation")
"""What a layer adds to the residual stream."""

CHANGE: Final = "attention_entropy_change"


def deviations(run: Run, thresholds: Thresholds) -> list[Deviation] | None:
    """Return where a run that is beyond its limit is so; None where there is nothing to compare with."""
    limit = thresholds.limit
    if limit is None:
        return None
    end = first_nonfinite(run)
    before = run if end == run.steps else cut_off(run, end)
    found = list(parts(before, limit.yardstick.rows))
    number = run_number(found, limit.yardstick)
    if number is None:
        return None
    if number.value <= limit.value:
        return []
    threshold = limit.value * limit.yardstick.rule.length_factor(number.windows)
    return [each for part in found for each in _beyond(before, part, limit, threshold)]


def cut_off(run: Run, steps: int) -> Run:
    """Return a run's first steps."""
    return replace(run, tokens=run.tokens[:steps], columns={name: each[:steps] for name, each in run.columns.items()})


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


def _beyond(run: Run, part: Part, limit: RunLimit, threshold: float) -> Iterator[Deviation]:
    """Yield the furthest window of each stretch of windows in a row that are beyond a threshold."""
    excess = limit.yardstick.excess(part)
    far = excess > threshold
    if not far.any():
        return
    usually = limit.yardstick.usual(part)
    for column, at in _stretches(far, part.table > usually):
        place = place_of(part, column, limit.yardstick.rows)
        worst, usual = at[excess[at, column].argmax()], float(usually[column])
        yield Deviation(
            layer=place.layer,
            step=_onset_step(run, part, place, int(at[0]), usual, float(part.table[at[0], column])),
            signal=place.signal,
            value=float(part.table[worst, column]),
            usual=usual,
            excess=float(excess[worst, column]),
            threshold=threshold,
        )


def _stretches(far: NDArray[np.bool_], above: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each column and the places in a row at which it is far out on the same side."""
    for column in np.flatnonzero(far.any(0)).tolist():
        places = np.flatnonzero(far[:, column])
        breaks = (np.diff(places) > 1) | np.diff(above[places, column])
        for at in np.split(places, np.flatnonzero(breaks) + 1):
            yield column, at


def _onset_step(run: Run, part: Part, place: ColumnName, window: int, usual: float, level: float) -> int:
    """Return the step at which a layer left what is usual, given its first window that is out.

    That is in the window or, where its median is out, before it: there up to half of its steps may be out unseen. A
    change is dated by the entropy that changed, in the second of the windows between which it is largest.
    """
    values = layer_signals(run, (place.signal,))[place.signal][:, place.layer]
    seen = np.flatnonzero(np.isfinite(values[1:])) + 1
    first = int(np.searchsorted(seen, part.starts[window]))
    if place.signal == CHANGE:
        here = seen[first : first + WINDOW]
        last = int(here[values[here].argmax()]) + 1
        entropy = run.columns["attention_entropy"][:last, place.layer].astype(np.float64)
        before, after = entropy[-2 * WINDOW : -WINDOW], entropy[-WINDOW:]
        rises = after.mean() > before.mean()
        return last - WINDOW + _onset(after, float(before.mean()), float(after.max() if rises else after.min()))
    before_it = 0 if place.view == "maxima" else WINDOW // 2
    seen = seen[max(0, first - before_it) : first + WINDOW]
    return int(seen[_onset(values[seen], usual, level)])


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
