"""Whether an arm's figures can be told from those of the A/A arm."""

from collections.abc import Mapping
from typing import Any, Final

from .arms import CONTROL

FEWEST_PAIRS: Final = 6
"""Below it not even the range of all pairs holds the median with 95 % confidence: 1 - 2 / 2**n."""
NEUTRAL: Final = {
    "call": 1.0,
    "first": 1.0,
    "step": 1.0,
    "added_ms_to_first_token": 0.0,
    "added_ms_after_last_token": 0.0,
    "added_mib": 0.0,
}
"""Figure of pairs -> what it is where an arm costs nothing."""


def told_apart(own: Mapping[str, Any], control: Mapping[str, Any], *, neutral: float) -> bool:
    """Say whether two intervals are apart, the control's extended to what it should be where it lies beside it."""
    low, high = own["ci95"]
    return bool(low > max(neutral, control["ci95"][1]) or high < min(neutral, control["ci95"][0]))


def measures_told(report: Mapping[str, Any], name: str) -> list[str] | None:
    """Return in which figures an arm of a report can be told from its control; None where too few pairs say so."""
    control, own = report["arms"].get(CONTROL), report["arms"][name]
    if control is None or own["pairs"] < FEWEST_PAIRS:
        return None
    return [
        measure
        for measure, neutral in NEUTRAL.items()
        if measure in own and measure in control and told_apart(own[measure], control[measure], neutral=neutral)
    ]
