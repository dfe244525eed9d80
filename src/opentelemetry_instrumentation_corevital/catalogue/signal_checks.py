"""What is wrong with the declarations of signals. The tests call `check`; nothing does in production."""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, get_args

from . import measured
from .signal import Dtype, Family, Shape, Signal, Statistic
from .signals import FAMILIES, SIGNALS, index_name

_WORD: Final = re.compile("[a-z][a-z0-9_]*")
"""What a name and the last word of an attribute are made of."""
_OTHER_COLUMNS: Final = frozenset({"tokens", "time_ns", "report"})
"""Columns of run data that are no signals."""


def check(families: Sequence[Family] = FAMILIES, signals: Sequence[Signal] = SIGNALS) -> None:
    """Raise if a declaration is wrong or stands twice.

    Raises:
        ValueError: with a line for each that is.
    """
    problems = [*_of_families(families, signals), *_of_signals({each.name: each for each in families}, signals)]
    problems += _twice(families, signals)
    if problems:
        raise ValueError("\n".join(problems))


def _of_families(families: Sequence[Family], signals: Sequence[Signal]) -> Iterator[str]:
    blocks = [each for each in families if each.in_row]
    if [each.every_step for each in blocks] != sorted((each.every_step for each in blocks), reverse=True):
        yield "families of every step come before those of the steps on which attention is sampled"
    if not blocks or blocks[0].name != "logits":
        yield "the row begins with the family `logits`"
    for family in families:
        if not _WORD.fullmatch(family.name):
            yield f"family {family.name}: its name is not one word in lower case"
        of = [each for each in signals if each.family == family.name]
        if not of:
            yield f"family {family.name}: it has no signal"
        if {"layer", "head"} <= {each.shape for each in of} and family.in_row:
            yield f"family {family.name}: signals of layers and of heads are families of their own"
        if any(each.layer_array for each in of) != bool(family.index):
            yield f"family {family.name}: it has an index if and only if it has layer arrays"
        if family.group and family.group not in measured.GROUPS:
            yield f"family {family.name}: measured.py does not know the group {family.group}"
        if family.in_row and family.name != "logits" and not family.group:
            yield f"family {family.name}: it needs a group under which it is absent"


def _of_signals(families: dict[str, Family], signals: Sequence[Signal]) -> Iterator[str]:
    for each in signals:
        family = families.get(each.family)
        if family is None:
            yield f"{each.name}: unknown family {each.family}"
        elif family.in_row and each.entry is None:
            yield f"{each.name}: it needs an entry of docs/metrics.md"
        elif not family.in_row and (each.dropped is not None or each.step or each.series or each.gauge):
            yield f"{each.name}: what is made of other columns has no column that this carrier could take"
        if each.shape not in get_args(Shape):
            yield f"{each.name}: unknown shape {each.shape}"
        if not {each.dtype, each.stored} <= set(get_args(Dtype)):
            yield f"{each.name}: unknown dtype {each.dtype} or {each.stored}"
        if not all(_WORD.fullmatch(word) for word in (each.name, each.short, each.measured_as)):
            yield f"{each.name}: name, word and number are one word in lower case"
        if each.name in _OTHER_COLUMNS or (each.name in {*measured.GROUPS, *measured.FACTS} and _in_row(family)):
            yield f"{each.name}: something else in a run or its data has this name"
        if not each.definition:
            yield f"{each.name}: it needs a definition"
        lowest = -math.inf if each.lowest is None else each.lowest
        if not all(lowest <= (math.inf if end is None else end) for end in (each.highest, each.migrated_highest)):
            yield f"{each.name}: its range is empty"
        if each.from_step < 0:
            yield f"{each.name}: a step before the first"
        if each.shape != "step" and family is not None and family.in_row and each.dropped is None:
            yield f"{each.name}: a column of layers needs a place in the order in which columns are dropped"
        yield from _carriers(each)


def _in_row(family: Family | None) -> bool:
    return family is not None and family.in_row


def _carriers(signal: Signal) -> Iterator[str]:
    """Yield which carriers do not fit the signal's shape, or each other."""
    of_steps: dict[str, object] = {
        "summaries": signal.summaries,
        "series": signal.series,
        "histogram": signal.histogram,
    }
    of_layers: dict[str, object] = {"layer_array": signal.layer_array, "heat_map": signal.heat_map}
    wrong = of_layers if signal.shape == "step" else of_steps | {"timeline": signal.timeline}
    if signal.shape == "head":
        wrong = wrong | of_layers | {"step": signal.step, "gauge": signal.gauge, "profile": signal.profile}
    for carrier, given in wrong.items():
        if given:
            yield f"{signal.name}: a number per {signal.shape} cannot have {carrier}"
    if bool(signal.histogram) != bool(signal.buckets):
        yield f"{signal.name}: a histogram needs buckets, and buckets a histogram"
    yield from _texts_and_words(signal)
    statistics = [each.statistic for each in signal.summaries]
    if not set(statistics) <= set(get_args(Statistic)) or len(set(statistics)) < len(statistics):
        yield f"{signal.name}: a summary is unknown or stands twice"
    if signal.layer_array is not None and signal.layer_array.statistic not in {"mean", "min", "max", "sum"}:
        yield f"{signal.name}: a layer array cannot be a {signal.layer_array.statistic}"
    if signal.line is not None:
        if not {word for word, _ in signal.line.figures} <= set(statistics):
            yield f"{signal.name}: its line has figures that are no summaries"
        if signal.line.bars and not (signal.series or signal.layer_array):
            yield f"{signal.name}: its line has bars of nothing"


def _texts_and_words(signal: Signal) -> Iterator[str]:
    """Yield what is wrong inside a carrier."""
    if any(not low < high for low, high in pairwise(signal.buckets)):
        yield f"{signal.name}: the bounds of its histogram do not rise"
    if not all(each.meaning for each in (*signal.summaries, signal.step, signal.layer_array) if each is not None):
        yield f"{signal.name}: an attribute of it has no meaning"
    if signal.step is not None and signal.step.telling not in {"", "min", "max"}:
        yield f"{signal.name}: no step is told for its {signal.step.telling}"
    if signal.timeline is not None and signal.timeline.colours not in {"", "high", "low"}:
        yield f"{signal.name}: tokens cannot be coloured by its {signal.timeline.colours} end"


def _twice(families: Sequence[Family], signals: Sequence[Signal]) -> Iterator[str]:
    """Yield what stands twice where it may stand once."""
    yield from _repeated("family", (each.name for each in families))
    yield from _repeated("signal", (each.name for each in signals))
    yield from _repeated("number of a family", ((each.family, each.measured_as) for each in signals))
    yield from _repeated("dropped", (each.dropped for each in signals if each.dropped is not None))
    yield from _repeated("rank of a heat map", (each.heat_map.rank for each in signals if each.heat_map))
    yield from _repeated("rank of a timeline", (each.timeline.rank for each in signals if each.timeline))
    yield from _repeated(
        "place in a profile", ((each.shape, each.profile) for each in signals if each.profile is not None)
    )
    attributes = [each.summary_name(summary.statistic) for each in signals for summary in each.summaries]
    attributes += [each.series_name for each in signals if each.series]
    attributes += [each.layers_name for each in signals if each.layer_array]
    attributes += [index_name(each) for each in families if each.index]
    yield from _repeated("attribute", attributes)
    yield from _repeated("attribute of steps", (each.step_name for each in signals if each.step))
    metrics = [each.gauge_name for each in signals if each.gauge]
    yield from _repeated("metric", [*metrics, *(each.step_name for each in signals if each.histogram)])


def _repeated(what: str, found: Iterable[Hashable]) -> Iterator[str]:
    return (f"{what} {each} stands twice" for each, count in Counter(found).items() if count > 1)
