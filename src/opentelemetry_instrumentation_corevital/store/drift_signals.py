"""The numbers of a run by which it is told whether its model has drifted, as lists and fingerprints have them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..assessment.behaviour import component
from .stored_run import RunSummary

VersionedVector = tuple[str, Sequence[float]] | None
"""Version and vector of a run's fingerprint; None: it has none."""


@dataclass(frozen=True, slots=True)
class DriftSignal:
    """A number of a run.

    Attributes:
        name: as programs spell it.
        title: as people do.
        unit: what follows the number; empty for a number without.
        read: returns it; None where the run does not have it.
        by_length: whether runs are compared with those of about the same length only.
        flag: whether it is 0 or 1, of which the rate is compared.
        of_model: whether a change of it is drift; else it says that other things are asked.
    """

    name: str
    title: str
    unit: str
    read: Callable[[RunSummary, VersionedVector], float | None]
    by_length: bool = True
    flag: bool = False
    of_model: bool = True


def _component(name: str) -> Callable[[RunSummary, VersionedVector], float | None]:
    return lambda _, vector: None if vector is None else component(vector[1], vector[0], name)


def _surprisal_excess(run: RunSummary, _: VersionedVector) -> float | None:
    if run.surprisal_mean is None or run.entropy_mean is None:
        return None
    return run.surprisal_mean - run.entropy_mean


def _loop(run: RunSummary, _: VersionedVector) -> float | None:
    return None if run.repetition_loop_detected is None else float(run.repetition_loop_detected)


SIGNALS: Final = (
    DriftSignal("entropy_median", "median entropy", "bit", _component("entropy_median")),
    DriftSignal("surprisal_excess", "surprisal above entropy", "bit", _surprisal_excess),
    DriftSignal("margin_mean", "mean margin", "", lambda run, _: run.margin_mean),
    DriftSignal("norm_growth", "last layer's norm over the first's (log2)", "", _component("norm_growth")),
    DriftSignal("turn_middle", "turn of the middle layers", "", _component("turn_middle")),
    DriftSignal("attention_middle", "attention entropy of the middle layers", "", _component("attention_middle")),
    DriftSignal("risk_score", "risk", "", lambda run, _: run.risk_score),
    DriftSignal("repetition_loop_detected", "loops", "", _loop, by_length=False, flag=True),
    DriftSignal("output_tokens", "answer's tokens", "", lambda run, _: run.output_tokens, by_length=False),
    DriftSignal(
        "input_tokens", "prompt's tokens", "", lambda run, _: run.input_tokens, by_length=False, of_model=False
    ),
)
"""In the order in which equals are told. The limit is one for `MOST_SIGNALS` of them (`assessment/drift.py`)."""
