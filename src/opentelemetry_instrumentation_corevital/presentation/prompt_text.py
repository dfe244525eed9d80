"""What a run tells of its prompt, in words and as JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._internal.prompt_analysis import NEGLECTED_BELOW
from ..catalogue import prompt_span_names as names
from ..catalogue.prompt_columns import ABSENT
from ..run import PromptAnalysis

_DIGITS: Final = 6


def prompt_lines(attributes: Mapping[str, Any]) -> list[tuple[list[float], str]]:
    """Return what a span says of the prompt: lines, each with the values of the layers that it is about.

    Args:
        attributes: of the run's span.
    """
    lines: list[tuple[list[float], str]] = []
    mean, largest = attributes.get(names.SURPRISAL_MEAN), attributes.get(names.SURPRISAL_MAX)
    if mean is not None and largest is not None:
        lines.append(([], f"surprisal mean {mean:.2f}, max {largest:.2f} bit"))
    scores = [math.nan if value < 0 else float(value) for value in attributes.get(names.BASIN_SCORE) or ()]
    known = [value for value in scores if not math.isnan(value)]
    if known:
        low = sum(value < NEGLECTED_BELOW for value in known)
        lines.append(
            (
                scores,
                f"basin score mean {sum(known) / len(known):.2f}, below {NEGLECTED_BELOW:g} in {low} of "
                f"{len(known)} layers",
            )
        )
    return lines


def first_note(found: PromptAnalysis) -> str | None:
    """Return that only the new part of a conversation was analysed, where that is so."""
    if not found.first:
        return None
    return f"Of the new part only, from token {found.first} on: a cache had the tokens before it."


def absences(found: PromptAnalysis) -> list[tuple[str, str]]:
    """Return what is absent of the analysis, in words, each with the reason."""
    return [(ABSENT.get(name, name.replace("_", " ")), reason) for name, reason in found.absent.items()]


def prompt_json(found: PromptAnalysis | None) -> dict[str, Any]:
    """Return `prompt_analysis` for JSON, with null for a number that there is not; empty where nothing is stored."""
    if found is None:
        return {}
    kept = found.connections
    values: dict[str, Any] = {
        "first": found.first,
        "surprisal_mean": found.surprisal_mean,
        "surprisal_max": found.surprisal_max,
        "surprising": None if found.surprising is None else found.surprising.tolist(),
        "surprisal": _numbers(found.surprisal),
        "layer_transformation": _numbers(found.layer_transformation),
        "basin": _numbers(found.basin),
        "connections": None if kept is None else {"index": kept.index.tolist(), "weight": _numbers(kept.weight)},
        "absent": dict(found.absent),
    }
    return {"prompt_analysis": {name: value for name, value in values.items() if value is not None}}


def _numbers(values: NDArray[Any] | None) -> Any:
    return None if values is None else _nested(np.asarray(values, np.float64).round(_DIGITS).tolist())


def _nested(value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(each) for each in value]
    return value if math.isfinite(value) else None


def surprising_tokens(found: PromptAnalysis) -> list[tuple[int, float | None]]:
    """Return the index of each of the most surprising tokens and its surprisal, None where that is not stored."""
    if found.surprising is None:
        return []
    begin = found.first + 1
    of = found.surprisal

    def bits(token: int) -> float | None:
        return float(of[token - begin]) if of is not None and 0 <= token - begin < len(of) else None

    return [(token, bits(token)) for token in found.surprising.tolist()]


class AttendedToken(NamedTuple):
    """A token of the prompt that the last one attends to."""

    token: int
    heads: int
    """Heads that have it among their largest weights."""
    weight: float
    """The mean of these."""


def attended_tokens(found: PromptAnalysis, most: int = 10) -> list[AttendedToken]:
    """Return the tokens that the most heads have among their largest weights; nothing where none are stored."""
    kept = found.connections
    if kept is None:
        return []
    there = (kept.index >= 0) & np.isfinite(kept.weight)
    tokens, of, heads = np.unique(kept.index[there], return_inverse=True, return_counts=True)
    sums = np.bincount(of.ravel(), weights=kept.weight[there], minlength=len(tokens))
    order = np.lexsort((-sums, -heads))[:most]
    return [AttendedToken(int(tokens[at]), int(heads[at]), float(sums[at] / heads[at])) for at in order]


def layer_figures(found: PromptAnalysis) -> list[dict[str, float | int | None]]:
    """Return for each layer its transformation, mean basin score, and the head with the lowest; None where unknown."""
    changes, basin, means = found.layer_transformation, found.basin, found.basin_by_layer()
    count = max((len(each) for each in (changes, basin) if each is not None), default=0)
    rows = []
    for layer in range(count):
        heads = None if basin is None or layer >= len(basin) or basin.shape[1] < 2 else basin[layer]
        lowest = None if heads is None or np.isnan(heads).all() else int(np.nanargmin(heads))
        rows.append(
            {
                "layer": layer,
                "transformation": _at(changes, layer),
                "basin": _at(means, layer),
                "lowest_head": lowest,
                "lowest": None if lowest is None or heads is None else float(heads[lowest]),
            }
        )
    return rows


def _at(values: Sequence[float] | NDArray[Any] | None, at: int) -> float | None:
    if values is None or at >= len(values) or math.isnan(values[at]):
        return None
    return float(values[at])
