"""A prompt analysis as columns of run data, and back."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..catalogue import prompt_span_names
from ..catalogue.prompt_columns import ABSENT, COLUMNS
from ..run import PromptAnalysis, PromptConnections

_NOT_STORED: Final = "it is stored with content on alone, in run data: who has the model could tell the prompt from it"


def prompt_arrays(found: PromptAnalysis | None, *, content: bool) -> dict[str, NDArray[Any]]:
    """Return what the run data hold of a prompt analysis, by column; some only with content on."""
    if found is None:
        return {}
    kept = found.connections
    values = {
        "prompt_surprisal": found.surprisal,
        "prompt_first": np.array([found.first]),
        "prompt_surprising": found.surprising,
        "prompt_layer_transformation": found.layer_transformation,
        "prompt_basin": found.basin,
        "prompt_connection_index": None if kept is None else kept.index,
        "prompt_connection_weight": None if kept is None else kept.weight,
    }
    there = [each for each in COLUMNS if values[each.name] is not None and (content or not each.content)]
    return {each.name: np.asarray(values[each.name], each.dtype) for each in there}


def analysis_of(
    arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any], absent: Mapping[str, str]
) -> PromptAnalysis | None:
    """Return the prompt analysis of a run that is read; None where there is nothing of one.

    Args:
        arrays: columns of the run data, by name.
        attributes: of the run's span.
        absent: what is absent of the run, with the reason.
    """
    why = {name: reason for name, reason in absent.items() if name in ABSENT}
    mean, largest = attributes.get(prompt_span_names.SURPRISAL_MEAN), attributes.get(prompt_span_names.SURPRISAL_MAX)
    changes, first = arrays.get("prompt_layer_transformation"), arrays.get("prompt_first")
    if changes is None and (told := attributes.get(prompt_span_names.LAYER_TRANSFORMATION)) is not None:
        changes = _told([-1.0, *told])
    basin = arrays.get("prompt_basin")
    if basin is None and (told := attributes.get(prompt_span_names.BASIN_SCORE)) is not None:
        basin = _told(list(told))[:, None]  # of the mean head, which is all that is known
    index, weight = arrays.get("prompt_connection_index"), arrays.get("prompt_connection_weight")
    together = index is not None and weight is not None and index.shape == weight.shape
    kept = PromptConnections(index, weight) if together and index is not None and weight is not None else None
    if not why and all(each is None for each in (mean, largest, changes, basin, kept, first)):
        return None
    surprisal = arrays.get("prompt_surprisal")
    if surprisal is None and mean is not None:
        why.setdefault("prompt_surprisal", _NOT_STORED)
    return PromptAnalysis(
        surprisal,
        mean,
        largest,
        arrays.get("prompt_surprising"),
        changes,
        basin,
        kept,
        int(first[0]) if first is not None and len(first) else 0,
        why,
    )


def _told(values: list[float]) -> NDArray[np.float32]:
    found = np.array(values, np.float32)
    return np.where(found < 0, np.float32(np.nan), found)
