"""What a run tells of its prompt, in a report's `prompt_analysis`, and back.

Surprisal and layer transformation are what the first CoreVital meant by them. Its basin score was another number, the
mean over all queries of the weight on the middle third over that on the rest, and its heads had the largest weights of
all queries: a run that is migrated keeps these in its report, and has no columns of them. Ours are of the last query.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._internal.prompt_analysis import CONNECTIONS as KEPT
from .._internal.values import number, whole
from ..assessment.prompt_arrays import prompt_arrays
from ..assessment.prompt_on_span import told_of_prompt
from ..catalogue.definitions import MOST_LAYERS
from ..run import PromptAnalysis, PromptConnections

FIELD: Final = "prompt_analysis"
SURPRISALS: Final = "prompt_surprisals"
"""The field that is content: who has the model could tell the prompt from it."""
_CHANGES: Final = "layer_transformations"
_FIRST: Final = "first_token"
_DIGITS: Final = 6
_MOST_TOKENS: Final = 2**24


def prompt_told(found: PromptAnalysis | None, prompt_tokens: int | None) -> dict[str, Any]:
    """Return `prompt_analysis` of a report; empty where the prompt was not analysed.

    A field is not there where its numbers are not known; the last query is a head's only one.

    Args:
        found: of the run.
        prompt_tokens: how many tokens the prompt has, which is where the last query is.
    """
    if found is None:
        return {}
    made: dict[str, Any] = {}
    if layers := _layers(found, prompt_tokens):
        made["layers"] = layers
    if found.layer_transformation is not None:
        made[_CHANGES] = _rounded(found.layer_transformation[1:])
    if found.surprisal is not None:
        made[SURPRISALS] = _rounded(found.surprisal)
    if made and found.first:
        made[_FIRST] = found.first
    return made


def _layers(found: PromptAnalysis, prompt_tokens: int | None) -> list[dict[str, Any]]:
    basin, kept = found.basin, found.connections
    if basin is not None and basin.shape[1] == 1:  # of no head: the mean is all that is stored
        basin = None
    last = None if prompt_tokens is None else prompt_tokens - 1
    count = max((len(each) for each in (basin, None if kept is None else kept.index) if each is not None), default=0)
    return [
        {
            "heads": [] if kept is None else [_head(*pair, last) for pair in _pairs(kept, layer)],
            **({} if basin is None else {"basin_scores": _rounded(basin[layer])}),
        }
        for layer in range(count)
    ]


def _pairs(kept: PromptConnections, layer: int) -> Sequence[tuple[NDArray[Any], NDArray[Any]]]:
    return list(zip(kept.index[layer], kept.weight[layer], strict=True))


def _head(index: NDArray[Any], weight: NDArray[Any], last: int | None) -> dict[str, Any]:
    there = index >= 0
    keys = index[there].tolist()
    queries = {} if last is None else {"query_indices": [last] * len(keys)}
    return {**queries, "key_indices": keys, "weights": _rounded(weight[there])}


def _rounded(values: NDArray[Any]) -> list[float | None]:
    return [round(value, _DIGITS) if np.isfinite(value) else None for value in np.asarray(values, np.float64).tolist()]


def prompt_read(report: Mapping[str, Any], layers: int | None, *, own: bool) -> PromptAnalysis | None:
    """Return what a report tells of the prompt by our definitions; None where it tells nothing that can be read.

    Args:
        report: the report.
        layers: of the model, where the report says so; numbers of others are not read.
        own: whether this CoreVital has written it, so that basin scores and heads are ours.
    """
    told = report.get(FIELD)
    if not isinstance(told, dict):
        return None
    changes, surprisal = (_numbers(told.get(name)) for name in (_CHANGES, SURPRISALS))
    first = told.get(_FIRST)
    if changes is not None and layers not in (None, len(changes) + 1):
        changes = None
    of_layers = told.get("layers")
    readable = own and isinstance(of_layers, list) and layers in (None, len(of_layers))
    basin, kept = _of_layers(of_layers) if readable else (None, None)
    if all(each is None for each in (changes, surprisal, basin, kept)):
        return None
    return PromptAnalysis.of(
        surprisal,
        layer_transformation=None if changes is None else np.concatenate(([np.nan], changes)).astype(np.float32),
        basin=basin,
        connections=kept,
        first=first if type(first) is int and 0 <= first < _MOST_TOKENS else 0,
    )


def read_columns(
    report: Mapping[str, Any], *, own: bool, content: bool
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return what a report tells of the prompt as columns of run data and attributes; see `prompt_read`."""
    model = report.get("model")
    found = prompt_read(report, whole(model.get("num_layers")) if isinstance(model, dict) else None, own=own)
    return prompt_arrays(found, content=content), told_of_prompt(found)


def _numbers(value: Any) -> NDArray[np.float32] | None:
    """Return a list of numbers, NaN for one that is none; None where it is no list, or has no number."""
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_TOKENS:
        return None
    found = np.array([np.nan if (each := number(item)) is None else each for item in value], np.float32)
    return found if np.isfinite(found).any() else None


def _of_layers(layers: Any) -> tuple[NDArray[np.float32] | None, PromptConnections | None]:
    """Return basin scores [L, H] and connections; None where a layer does not have them as the others do."""
    if not isinstance(layers, list) or len(layers) > MOST_LAYERS or not all(isinstance(each, dict) for each in layers):
        return None, None
    scores = [_numbers(each.get("basin_scores")) for each in layers]
    known = [each for each in scores if each is not None]
    basin = None
    if known and len({len(each) for each in known}) == 1:
        nothing = np.full(len(known[0]), np.nan, np.float32)
        basin = np.stack([nothing if each is None else each for each in scores])
    return basin, _connections([each.get("heads") for each in layers])


def _connections(layers: list[Any]) -> PromptConnections | None:
    heads = {len(each) for each in layers if isinstance(each, list)}
    if len(heads) != 1 or not all(isinstance(each, list) for each in layers) or heads == {0}:
        return None
    shape = (len(layers), *heads, KEPT)
    index, weight = np.full(shape, -1, np.int32), np.full(shape, np.nan, np.float32)
    for layer, told in enumerate(layers):
        for head, each in enumerate(told):
            keys, weights = (each.get(name) if isinstance(each, dict) else None for name in ("key_indices", "weights"))
            if not isinstance(keys, list) or not isinstance(weights, list) or not len(keys) == len(weights) <= KEPT:
                return None
            for rank, (key, value) in enumerate(zip(keys, weights, strict=True)):
                known = number(value)
                if type(key) is not int or not 0 <= key < _MOST_TOKENS or known is None:
                    return None
                index[layer, head, rank], weight[layer, head, rank] = key, known
    return PromptConnections(index, weight)
