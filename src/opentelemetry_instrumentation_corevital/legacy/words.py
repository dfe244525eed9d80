"""What schema 0.4.0 calls things that have another name here."""

from collections.abc import Iterable, Mapping
from typing import Final

RISK_FACTORS: Final[Mapping[str, str]] = {
    "nan_detected": "nan_or_inf",
    "inf_detected": "nan_or_inf",
    "repetition_loop_detected": "repetition_loop",
    "mid_layer_anomaly_detected": "mid_layer_anomaly",
    "attention_collapse_detected": "attention_collapse",
    "high_entropy_share": "high_entropy_steps",
}
"""Factor of the `rules` risk -> its word in a report."""


def risk_factors(factors: Iterable[str]) -> list[str]:
    """Return the words for factors such as `repetition_loop_detected=0.9`; another judgement's own stay as they are."""
    names = (factor.partition("=")[0] for factor in factors)
    return list(dict.fromkeys(RISK_FACTORS.get(name, name) for name in names))
