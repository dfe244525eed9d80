"""Where the excess of a fault is: at its layer, by which signal, and which other layer begins to be out before it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .choosing import Trial, first_layers, limit_by, longer, measured_with, shipped
from .excess import PAIRS, Floats, Pair
from .lessons import Lesson


@dataclass(frozen=True, slots=True)
class Place:
    """One run with a fault, judged by the shipped rule.

    Attributes:
        fault: its kind.
        strongest: view and signal with the largest excess at the layer of the fault.
        strength: that excess in units of the run's limit.
        counted: the same of the signals that count.
        outcome: `right`; `not finite`, which needs no baseline; `too short` for a window; `not beyond`: nothing is out;
            else another layer begins: `shallower` in the same window, `earlier` in one before, or `elsewhere only`: its
            own is not out.
        other: view and signal of what begins elsewhere, and how many layers further on, as text.
    """

    fault: str
    strongest: str
    strength: float
    counted: float
    outcome: str
    other: str = ""


def places(trial: Trial, lesson: Lesson, faults: Sequence[str]) -> list[Place]:
    """Return where the excess of each run with a fault is."""
    rule = shipped()
    pairs = rule.places
    measured = measured_with(trial, lesson, rule.unit)
    limit = limit_by(measured, rule)
    if limit is None:
        return []
    limits = limit * longer(trial.faults.counts, rule)
    found = []
    for number, fault in enumerate(faults):
        layer = int(trial.layers[number])
        windows = measured.fault_windows[trial.faults.run == number] / limits[number]
        if trial.told[number] >= 0 or not len(windows):
            outcome = "not finite" if trial.told[number] >= 0 else "too short"
            found.append(Place(fault, "", float("nan"), float("nan"), outcome))
            continue
        at_layer = windows[:, :, layer].max(0)
        outcome, other = _outcome(windows[:, pairs], layer, rule.counted)
        found.append(
            Place(
                fault,
                strongest=" ".join(PAIRS[int(at_layer.argmax())]),
                strength=float(at_layer.max()),
                counted=float(at_layer[pairs].max()),
                outcome=outcome,
                other=other,
            )
        )
    return found


def alone(trial: Trial, lesson: Lesson, faults: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (view and signal, kind of fault) -> runs whose layer each signal places rightly by itself, of how many.

    Each gets a limit of its own. Runs in which something was not finite are left out: they need no signal.
    """
    rule, found = shipped(), {}
    measured = measured_with(trial, lesson, rule.unit)
    for number, pair in enumerate(PAIRS):
        limit = limit_by(measured, replace(rule, counted=(pair,)))
        if limit is None or not measured.numbers[:, number].any():
            continue
        first = first_layers(trial.faults, measured.fault_windows[:, number], limit, rule)
        runs = list(zip(faults, (first == trial.layers).tolist(), (trial.told < 0).tolist(), strict=True))
        for kind in sorted(set(faults)):
            some = [right for fault, right, finite in runs if finite and fault == kind]
            if some:
                found[" ".join(pair), kind] = (sum(some), len(some))
    return found


def _outcome(counted: Floats, layer: int, pairs: Sequence[Pair]) -> tuple[str, str]:
    """Return the outcome, and what begins elsewhere, of excesses [windows, pairs, layers] in units of the limit."""
    beyond = counted.max(1) > 1
    if not beyond.any():
        return "not beyond", ""
    window = int(beyond.any(1).argmax())
    first = int(beyond[window].argmax())
    if first == layer:
        return "right", ""
    view, signal = pairs[int(counted[window, :, first].argmax())]
    other = f"{view} {signal}, {first - layer:+d} layers"
    if not beyond[:, layer].any():
        return "elsewhere only", other
    return ("shallower" if beyond[window, layer] else "earlier"), other
