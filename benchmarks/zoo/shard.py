"""Rows of a collection -> arrays."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.baselines.profiled_signals import (
    LAYER_SIGNALS,
    layer_signals,
    step_signals,
)

from .container import Arrays, end_to_end, windows
from .plan import Model
from .rows import Row
from .structured import FORMATS

STEP_COLUMNS: Final = (
    "entropy",
    "surprisal",
    "margin",
    "top1_prob",
    "topk_mass",
    "hidden_cosine",
    "prompt_focus",
    "collapsed_share",
)
"""Kept of every step; those that CoreVital derives from others are made by its own code."""
LAYER_COLUMNS: Final = (
    "hidden_l2_norm",
    "hidden_max_abs",
    "layer_transformation",
    "attention_entropy",
    "attention_entropy_std",
    "attention_max_weight",
    "attention_mass_sink",
    "collapsed_head_rate",
    "router_entropy",
)
"""Kept of every step and layer of the runs that have them."""
WINDOW_COLUMNS: Final = tuple(LAYER_SIGNALS)
"""Kept of windows: what a profile knows."""
GROUPS: Final = ("healthy", "loop", "structured", "fault", "task")
SIDES: Final = ("", "baseline", "held_out")
_WIDE: Final = ("hidden_l2_norm", "hidden_max_abs")
"""Numbers that may be too large for half precision."""


def arrays_of(
    rows: Sequence[Row], plan: Model, report: Mapping[str, Any], every_step: int, columns: Sequence[str] = ()
) -> Arrays:
    """Return the arrays of a collection.

    Args:
        rows: the runs, in any order.
        plan: the model.
        report: what its training came to.
        every_step: healthy runs whose layers are kept at every step; those with a fault and answers are in any case.
        columns: further columns of `Run.columns`, of each step or of each step and layer.
    """
    rows = sorted(rows, key=lambda row: (GROUPS.index(row.group), row.number))
    layered = _layered(rows, every_step)
    kinds = sorted({row.prompt.kind for row in rows})
    names = {
        "group": list(GROUPS),
        "side": list(SIDES),
        "kind": kinds,
        "fault": ["", *sorted({row.fault for row in rows} - {""})],
        "task": ["", *sorted({row.task for row in rows} - {""})],
        "format": list(FORMATS),
        "end": ["", *sorted({str(row.run.stop_reason or "") for row in rows} - {""})],
    }
    first = rows[0].run.model
    about = {
        "model": {**asdict(plan), "architecture": first.architecture, "vocabulary_size": first.vocabulary_size},
        "layers": first.layer_count,
        "heads": first.head_count,
        "dtype": first.dtype,
        "attention": first.attention_implementation,
        "report": dict(report),
        "names": names,
    }
    arrays: Arrays = {"meta": np.array(json.dumps(about))}
    arrays |= _by_run(rows, names, layered)
    arrays |= _by_step(rows, (*STEP_COLUMNS, *columns), plan)
    arrays |= _by_layer(rows, layered, columns)
    return arrays | _counts(rows) | _answers(rows, plan)


def made_texts(texts: Sequence[tuple[str, list[int]]]) -> Arrays:
    """Return the arrays of structured documents that no model wrote: whatever calls one of them a loop is wrong."""
    return {
        "made/kind": np.array([list(FORMATS).index(kind) for kind, _ in texts], np.int8),
        "made/steps": np.array([len(ids) for _, ids in texts], np.int32),
        "made/tokens": end_to_end([np.array(ids) for _, ids in texts], np.uint32),
    }


def _layered(rows: Sequence[Row], every_step: int) -> list[int]:
    """Return for each row what is kept of its layers: 2 every step, 1 windows, 0 nothing."""
    healthy = [number for number, row in enumerate(rows) if row.group == "healthy"]
    places = np.linspace(0, len(healthy) - 1, min(every_step, len(healthy))).round().astype(int)
    whole = {healthy[place] for place in places.tolist()}
    whole |= {number for number, row in enumerate(rows) if row.group in ("fault", "task")}
    return [2 if number in whole else 1 for number in range(len(rows))]


def _by_run(rows: Sequence[Row], names: Mapping[str, list[str]], layered: Sequence[int]) -> Arrays:
    def index(name: str, values: list[str]) -> NDArray[np.int16]:
        return np.array([names[name].index(value) for value in values], np.int16)

    def number(values: list[Any], dtype: Any) -> NDArray[Any]:
        return np.array([-1 if value is None else value for value in values], dtype)

    found = {
        "group": index("group", [row.group for row in rows]),
        "side": index("side", [row.side for row in rows]),
        "kind": index("kind", [row.prompt.kind for row in rows]),
        "fault": index("fault", [row.fault for row in rows]),
        "task": index("task", [row.task for row in rows]),
        "end": index("end", [str(row.run.stop_reason or "") for row in rows]),
        "number": number([row.number for row in rows], np.int32),
        "steps": number([row.run.steps for row in rows], np.int32),
        "input_tokens": number([row.run.input_tokens for row in rows], np.int32),
        "limit": number([row.limit for row in rows], np.int16),
        "temperature": number([row.temperature for row in rows], np.float32),
        "layered": number(list(layered), np.int8),
        "onset": number([row.onset for row in rows], np.int32),
        "copies": number([row.copies for row in rows], np.int8),
        "loop": number([row.loop for row in rows], np.int8),
        "layer": number([row.layer for row in rows], np.int16),
        "step": number([row.step for row in rows], np.int16),
        "kl": number([row.kl for row in rows], np.float32),
        "level": number([row.level for row in rows], np.int8),
        "right": number([row.right for row in rows], np.int8),
    }
    return {f"run/{name}": values for name, values in found.items()}


def _by_step(rows: Sequence[Row], columns: Sequence[str], plan: Model) -> Arrays:
    kind = np.uint16 if plan.vocabulary <= 2**16 else np.uint32
    found = {"tokens": end_to_end([row.run.tokens for row in rows], kind)}
    made = [{**row.run.columns, **step_signals(row.run)} for row in rows]
    for name in columns:
        if any(name in one and one[name].ndim == 1 for one in made):
            parts = [one.get(name, np.full(row.run.steps, np.nan)) for row, one in zip(rows, made, strict=True)]
            found[f"step/{name}"] = end_to_end(parts, np.float16)
    return found


def _by_layer(rows: Sequence[Row], layered: Sequence[int], columns: Sequence[str]) -> Arrays:
    found: Arrays = {}
    whole = [row.run for row, kept in zip(rows, layered, strict=True) if kept == 2]
    other = [row.run for row, kept in zip(rows, layered, strict=True) if kept == 1]
    layers = rows[0].run.columns["hidden_l2_norm"].shape[1]
    for name in (*LAYER_COLUMNS, *columns):
        if any(name in run.columns and run.columns[name].ndim == 2 for run in whole):
            parts = [_column(run.columns, name, run.steps, layers) for run in whole]
            found[f"layers/{name}"] = end_to_end(parts, _kind(name)).T
    derived = [layer_signals(run) for run in other]
    further = [name for name in columns if any(name in run.columns and run.columns[name].ndim == 2 for run in other)]
    for name in (*WINDOW_COLUMNS, *further):
        if not any(name in one or name in run.columns for one, run in zip(derived, other, strict=True)):
            continue
        parts = [
            windows(_column({**run.columns, **one}, name, run.steps, layers))
            for run, one in zip(other, derived, strict=True)
        ]
        for place, statistic in enumerate(("median", "max", "argmax")):
            dtype = np.uint8 if statistic == "argmax" else _kind(name)
            found[f"window/{name}/{statistic}"] = end_to_end([part[place] for part in parts], dtype).T
    return found


def _column(columns: Mapping[str, NDArray[Any]], name: str, steps: int, layers: int) -> NDArray[Any]:
    return columns[name] if name in columns else np.full((steps, layers), np.nan, np.float32)


def _kind(name: str) -> Any:
    return np.float32 if name in _WIDE else np.float16


def _counts(rows: Sequence[Row]) -> Arrays:
    layers, logits = [], []
    for number, row in enumerate(rows):
        columns = row.run.columns
        nan, inf = columns["hidden_nan"], columns["hidden_inf"]
        for step, layer in np.argwhere((nan > 0) | (inf > 0)):
            layers.append((number, step, layer, nan[step, layer], inf[step, layer]))
        three = np.stack([columns[name] for name in ("logits_nan", "logits_posinf", "logits_neginf")], -1)
        logits += [(number, step, *three[step]) for step in np.flatnonzero(three.any(-1))]
    return {
        "nonfinite": np.array(layers, np.int32).reshape(-1, 5),
        "logits": np.array(logits, np.int32).reshape(-1, 5),
    }


def _answers(rows: Sequence[Row], plan: Model) -> Arrays:
    asked = [(number, row) for number, row in enumerate(rows) if row.group == "task"]
    if not asked:
        return {}
    found: Arrays = {"spectrum": np.stack([_given(row.spectrum) for _, row in asked], -1).astype(np.float32)}
    heads = [row.run.columns["attention_previous_heads"] for _, row in asked if row.run.steps]
    found["previous"] = np.moveaxis(np.concatenate(heads), 0, -1).astype(np.float16)
    samples = [(number, sample) for number, row in asked for sample in row.samples]
    found |= {
        "sample/run": np.array([number for number, _ in samples], np.int32),
        "sample/steps": np.array([len(sample.tokens) for _, sample in samples], np.int16),
        "sample/surprisal": np.array([sample.surprisal for _, sample in samples], np.float32),
        "sample/right": np.array([sample.right for _, sample in samples], np.int8),
        "sample/answer": np.array([sample.answer for _, sample in samples], np.int8),
        "sample/tokens": end_to_end(
            [sample.tokens for _, sample in samples], np.uint16 if plan.vocabulary <= 2**16 else np.uint32
        ),
    }
    return found


def _given(spectrum: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if spectrum is None:
        raise ValueError("an answer has no spectrum: its run was not watched")
    return spectrum
