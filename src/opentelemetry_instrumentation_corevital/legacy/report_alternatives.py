"""The likeliest tokens of each step in a report's timeline: `logits_summary.topk`, which some call `topk_probs`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._internal.values import number, whole
from ..catalogue import alternative_names
from ..presentation.alternative_tokens import alternatives_in, steps_of

FIELD: Final = "topk"
_NAMES: Final = (FIELD, "topk_probs")
_MOST_ID: Final = 2**31 - 1


def told_steps(columns: Mapping[str, NDArray[Any]]) -> list[list[dict[str, Any]]]:
    """Return what a report says of each step's likeliest tokens; nothing where the columns do not have them."""
    found = alternatives_in(columns)
    return [] if found is None else [[_told(*pair) for pair in step] for step in steps_of(found)]


def _told(probability: float, token: int | None) -> dict[str, Any]:
    return {**({} if token is None else {"token_id": token}), "prob": probability}


def columns_told(timeline: Sequence[Mapping[str, Any]], *, content: bool) -> dict[str, NDArray[Any]]:
    """Return the columns that a timeline tells of, the five likeliest tokens of each step; nothing where none does.

    Args:
        timeline: of a report.
        content: whether token ids are kept.
    """
    steps = [_listed(step.get("logits_summary")) for step in timeline]
    if not any(steps):
        return {}
    shape = (len(steps), alternative_names.RANKS)
    probabilities, tokens = np.full(shape, np.nan, np.float32), np.full(shape, -1, np.int32)
    for step, told in enumerate(steps):
        for rank, (probability, token) in enumerate(told):
            probabilities[step, rank], tokens[step, rank] = probability, token
    ids = {alternative_names.TOKEN: tokens} if content and (tokens >= 0).any() else {}
    return {alternative_names.PROBABILITY: probabilities, **ids}


def _listed(summary: Any) -> list[tuple[float, int]]:
    """Return a step's probabilities and token ids, -1 where none is told; nothing where one cannot be read."""
    named = summary if isinstance(summary, dict) else {}
    told: list[Any] = next((named[name] for name in _NAMES if isinstance(named.get(name), list)), [])
    found = []
    for each in told[: alternative_names.RANKS]:
        probability = number(each.get("prob")) if isinstance(each, dict) else None
        if probability is None or not 0.0 <= probability <= 1.0 or math.isnan(probability):
            return []
        token = whole(each.get("token_id"))
        found.append((probability, token if token is not None and 0 <= token <= _MOST_ID else -1))
    return found
