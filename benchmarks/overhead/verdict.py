"""Whether an arm's figures are within its goal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cases import ENOUGH_PAIRS

from opentelemetry_instrumentation_corevital.overhead.arms import CONTROL
from opentelemetry_instrumentation_corevital.overhead.told_apart import told_apart


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal of a report: a measure of an arm, what was found, and whether that will do."""

    arm: str
    measure: str
    most: float
    like_control: bool
    found: Mapping[str, Any]
    control: Mapping[str, Any] | None
    pairs: int
    enough: bool
    reached: bool


def goals(report: Mapping[str, Any]) -> list[Goal]:
    """Return what a report says about its case's goals."""
    wanted, arms = report["goals"], report["arms"]
    control = arms.get(CONTROL)
    found = []
    for arm, most in wanted["arms"].items():
        for measure in wanted["measures"]:
            if arm not in arms or measure not in arms[arm]:
                continue
            own, other = arms[arm][measure], control and control.get(measure)
            if wanted["like_control"]:
                reached = other is not None and not told_apart(own, other, neutral=1)
            else:
                reached = own["ci95"][1] <= most
            pairs = arms[arm]["pairs"]
            # Memory does not vary from call to call: one pair will do.
            enough = measure == "added_mib" or pairs >= ENOUGH_PAIRS
            found.append(Goal(arm, measure, most, wanted["like_control"], own, other, pairs, enough, reached))
    return found
