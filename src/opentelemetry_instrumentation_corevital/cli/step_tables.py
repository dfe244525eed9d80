"""A run's steps and layers as flat rows and as JSON, for programs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .. import semconv
from ..catalogue import alternative_names
from ..catalogue.signals import step_fields

if TYPE_CHECKING:
    from ..store.stored_run import StoredRun

_STEP_ATTRIBUTES: Final = {each.name: each.step_name for each in step_fields(full=False)}
"""Column of the run data -> what a step's event calls it."""

Rows = tuple[list[str], Iterator[dict[str, Any]]]
"""Names of columns, and rows by them."""


def step_rows(run: "StoredRun") -> Rows:
    """Return one row per step: every signal with one number a step; without run data, what recorded steps have."""
    flat = {name: values for name, values in run.columns.items() if values.ndim == 1}
    for name in alternative_names.COLUMNS:
        if name in run.columns:
            flat |= {f"{name}_{rank}": values for rank, values in enumerate(run.columns[name].T, 1)}
    if flat:
        return ["step", *flat], (
            {"step": step, **{name: _value(values[step]) for name, values in flat.items()}}
            for step in range(len(next(iter(flat.values()))))
        )
    rows = [{_short(name): _joined(value) for name, value in step.attributes.items()} for step in run.steps]
    return list(dict.fromkeys(["step", *(name for row in rows for name in row)])), iter(rows)


def every_step(run: "StoredRun") -> list[dict[str, Any]]:
    """Return every step as its event has it, from the run data and, where it was recorded, its event."""
    recorded = {event.attributes.get(semconv.STEP_INDEX): event.attributes for event in run.steps}
    found = {name: run.columns[column] for column, name in _STEP_ATTRIBUTES.items() if column in run.columns}
    if not found:
        return [dict(attributes) for attributes in recorded.values()]
    return [
        {
            semconv.STEP_INDEX: step,
            **{name: float(values[step]) for name, values in found.items() if math.isfinite(values[step])},
            **recorded.get(step, {}),
        }
        for step in range(min(map(len, found.values())))
    ]


def layer_rows(run: "StoredRun", signals: Sequence[str] = ()) -> Rows:
    """Return one row per step and layer, from the run data; nothing where there are none.

    Args:
        run: the run.
        signals: columns of the run data, empty where a run does not have one; none: all.
    """
    deep = {
        name: values
        for name, values in run.columns.items()
        if values.ndim == 2 and name not in alternative_names.COLUMNS
    }
    names = signals or deep
    steps, layers = (max((values.shape[axis] for values in deep.values()), default=0) for axis in (0, 1))
    return ["step", "layer", *names], (
        {
            "step": step,
            "layer": layer,
            **{
                name: _value(values[step, layer])
                for name, values in deep.items()
                if name in names and layer < values.shape[1]
            },
        }
        for step in range(steps)
        for layer in range(layers)
    )


def columns_json(run: "StoredRun", signals: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the run data as lists, [steps] or [steps, layers]; what is not a finite number is None.

    Args:
        run: the run.
        signals: the columns wanted, of those that the run has; none: all.
    """
    return {name: _lists(values.tolist()) for name, values in run.columns.items() if not signals or name in signals}


def _lists(value: Any) -> Any:
    return [_lists(each) for each in value] if isinstance(value, list) else _finite(value)


def _value(value: Any) -> Any:
    return _finite(value.item())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(name: str) -> str:
    return "step" if name == semconv.STEP_INDEX else name.removeprefix(f"{semconv.STEP_EVENT}.")


def _joined(value: Any) -> Any:
    return ";".join(map(str, value)) if isinstance(value, list | tuple) else value
