"""What schema 0.4.0 calls things that have another name here."""

from collections.abc import Iterable, Mapping
from typing import Final

from ..catalogue.verdicts import FLAGS, HIGH_ENTROPY_SHARE

RISK_FACTORS: Final[Mapping[str, str]] = {
    **{flag.name: flag.in_reports or flag.short for flag in FLAGS},
    HIGH_ENTROPY_SHARE: "high_entropy_steps",
}
"""Factor of the `rules` risk -> its word in a report."""


def risk_factors(factors: Iterable[str]) -> list[str]:
    """Return the words for factors such as `repetition_loop_detected=0.9`; another judgement's own stay as they are."""
    names = (factor.partition("=")[0] for factor in factors)
    return list(dict.fromkeys(RISK_FACTORS.get(name, name) for name in names))
