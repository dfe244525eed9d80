"""A report's timeline as columns and back, so that no number is lost: what is no number stays where it is."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ReportColumns = dict[str, NDArray[Any]]
ReportStep = dict[str, Any]

_PREFIX: Final = "report."
_STEP_GROUPS: Final = ("logits_summary",)
_LAYER_GROUPS: Final = ("hidden_summary", "attention_summary", "cross_attention_summary", "anomalies")
_NAMES: Final[Mapping[tuple[str, str], str]] = {
    ("logits_summary", "entropy"): "entropy",
    ("logits_summary", "surprisal"): "surprisal",
    ("logits_summary", "top_k_margin"): "margin",
    ("logits_summary", "topk_mass"): "topk_mass",
    ("hidden_summary", "mean"): "hidden_mean",
    ("hidden_summary", "std"): "hidden_std",
    ("hidden_summary", "l2_norm_mean"): "hidden_l2_norm",
    ("hidden_summary", "max_abs"): "hidden_max_abs",
    ("attention_summary", "entropy_mean_normalized"): "attention_entropy",
    ("attention_summary", "concentration_max"): "attention_max_weight_max",
    ("attention_summary", "collapsed_head_rate"): "collapsed_head_rate",
    ("attention_summary", "focused_head_rate"): "focused_head_rate",
    ("cross_attention_summary", "entropy_mean_normalized"): "cross_attention_entropy",
    ("cross_attention_summary", "concentration_max"): "cross_attention_max_weight_max",
    ("anomalies", "has_nan"): "hidden_nan",
    ("anomalies", "has_inf"): "hidden_inf",
}
"""Group and field -> the column of the run data that means the same."""
_FIELDS: Final = {name: field for field, name in _NAMES.items()}


def column_name(group: str, key: str) -> str:
    """Return the column that holds a field of a report."""
    return _NAMES.get((group, key), f"{_PREFIX}{group}.{key}")


def field_of(column: str) -> tuple[str, str] | None:
    """Return group and field of a column; None for one that a report does not have."""
    if column in _FIELDS:
        return _FIELDS[column]
    group, _, key = column.removeprefix(_PREFIX).partition(".")
    return (group, key) if column.startswith(_PREFIX) and key else None


def pack(timeline: Sequence[ReportStep]) -> tuple[ReportColumns, list[ReportStep]]:
    """Return a timeline's finite numbers as columns, [steps] or [steps, layers], and the timeline without them.

    A number is kept as it is: in single precision where that loses nothing, else in double.
    """
    rest = copy.deepcopy(list(timeline))
    columns: ReportColumns = {}
    for group in _STEP_GROUPS:
        parts = [[step.get(group)] for step in rest]
        columns |= {name: values[:, 0] for name, values in _take(group, parts).items()}
    layers = {len(_layers(step)) for step in rest}
    if len(layers) == 1 and layers != {0}:
        for group in _LAYER_GROUPS:
            columns |= _take(group, [[layer.get(group) for layer in _layers(step)] for step in rest])
    return columns, rest


def unpack(columns: Mapping[str, NDArray[Any]], rest: Sequence[ReportStep]) -> list[ReportStep]:
    """Return the timeline that `pack` took apart, or one made of columns, its steps named by `rest`."""
    timeline = copy.deepcopy(list(rest))
    for name, values in columns.items():
        field = field_of(name)
        if field is None or len(values) != len(timeline):
            continue
        group, key = field
        for step, row in zip(timeline, values, strict=True):
            if values.ndim == 1 and group in _STEP_GROUPS:
                _put(step, group, key, row)
            elif values.ndim == 2 and group in _LAYER_GROUPS:
                for layer, value in zip(_grown(step, len(row)), row, strict=True):
                    _put(layer, group, key, value)
    return timeline


def _layers(step: ReportStep) -> list[Any]:
    found = step.get("layers")
    return found if isinstance(found, list) and all(isinstance(layer, dict) for layer in found) else []


def _grown(step: ReportStep, count: int) -> list[ReportStep]:
    """Return a step's layers, made where they are missing."""
    found: list[ReportStep] = step.setdefault("layers", [])
    found += [{"layer_index": index} for index in range(len(found), count)]
    return found


def _take(group: str, parts: Sequence[Sequence[Any]]) -> ReportColumns:
    """Move the numbers of a group, one dictionary per step (and layer), out of it into columns."""
    keys = dict.fromkeys(key for row in parts for part in row if isinstance(part, dict) for key in part)
    columns: ReportColumns = {}
    for key in keys:
        values = [[_number(part, key) for part in row] for row in parts]
        flat = [value for row in values for value in row]
        known = [value for value in flat if value is not None]
        whole, kinds = len(known) == len(flat), {isinstance(value, bool) for value in known}
        if not known or len(kinds) > 1 or (True in kinds and not whole):  # an array of booleans has no holes
            continue
        columns[column_name(group, key)] = _array(values, whole=whole)
        for part, value in zip((part for row in parts for part in row), flat, strict=True):
            if value is not None:
                del part[key]
    return columns


def _number(part: Any, key: str) -> float | int | bool | None:
    value = part.get(key) if isinstance(part, dict) else None
    return value if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 2**53 else None


def _array(values: Sequence[Sequence[Any]], *, whole: bool) -> NDArray[Any]:
    numbers = np.array([[math.nan if value is None else value for value in row] for row in values], np.float64)
    kinds = {type(value) for row in values for value in row}
    if whole and kinds == {bool}:
        return numbers.astype(np.bool_)
    if whole and kinds == {int} and np.abs(numbers).max() < 2**31:
        return numbers.astype(np.int32)
    single = numbers.astype(np.float32)
    return single if np.array_equal(single.astype(np.float64), numbers, equal_nan=True) else numbers


def _put(part: ReportStep, group: str, key: str, value: Any) -> None:
    if isinstance(value, np.floating) and not np.isfinite(value):
        return
    found = part.get(group)
    if not isinstance(found, dict):
        found = part[group] = {}
    found.setdefault(key, value.item())
