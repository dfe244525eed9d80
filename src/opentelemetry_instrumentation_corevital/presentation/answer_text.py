"""What a run's attributes say of its answer risk, in words."""

from collections.abc import Mapping
from typing import Any, Final

from .. import semconv
from ..catalogue.spelling import reason_for_people

ABSENT: Final = "answer_risk"
"""The name under which a run says why it has none."""


def answer_text(attributes: Mapping[str, Any], absent: Mapping[str, Any]) -> str | None:
    """Return the probability and what moved it, or why there is none; None for a run that nobody judged by it.

    Args:
        attributes: of the run's span.
        absent: what the span says is not there -> the reason.
    """
    probability = attributes.get(semconv.RISK_ANSWER)
    if probability is not None:
        moved = ", ".join(answer_factors(attributes))
        return f"{probability:.2f}{f' ({moved})' if moved else ''}"
    why = why_no_answer(attributes, absent)
    return f"none: {why}" if why else None


def why_no_answer(attributes: Mapping[str, Any], absent: Mapping[str, Any]) -> str:
    """Return why there is no answer risk; empty where nothing says so."""
    if ABSENT in absent:
        return reason_for_people(str(absent[ABSENT]))
    return "it is outside the support" if attributes.get(semconv.RISK_ANSWER_SUPPORT) is False else ""


def answer_factors(attributes: Mapping[str, Any]) -> list[str]:
    """Return how far each feature moved the log-odds, as `surprisal scaled +0.310`, the farthest first."""
    told = (str(each).rpartition("=") for each in attributes.get(semconv.RISK_ANSWER_FACTORS) or ())
    return [f"{name.replace('_', ' ')} {by}".strip() for name, _, by in told]
