"""Stored runs as runs again, as far as their layers' numbers are stored: to learn from what was served."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from ..catalogue.signals import in_row
from ..run import Decoding, Health, ModelInfo, Run
from .filters import FLAGS
from .stored_run import StoredRun

_COUNTS_OF_LAYERS: Final = frozenset(each.name for each in in_row() if each.dtype == "int32" and each.shape != "step")
_NEEDED: Final = "hidden_l2_norm"


def served_run(stored: StoredRun) -> Run | None:
    """Return a stored run with its columns and its flags; None where no layer arrays are stored, or they are damaged.

    Arrays of other layers than the span says count as damaged.

    Tokens are -1, and `absent` has `output_tokens`, where their ids are not stored: the rule without content.
    Numbers that run data have in half precision are those.
    """
    try:
        columns = stored.columns
    except ValueError:
        return None
    if _NEEDED not in columns or stored.report is not None:  # of the first CoreVital: other signals of the same names
        return None
    steps, layers = columns[_NEEDED].shape
    model = model_of(stored, layers)
    if model.layer_count != layers:
        return None
    measured = {name: _as_measured(name, columns[name]) for name in columns if name not in ("time_ns", "tokens")}
    tokens = columns.get("tokens")
    summary = stored.summary
    run = Run(
        model,
        Decoding(max_new_tokens=_attribute(stored, semconv.GEN_AI_REQUEST_MAX_TOKENS)),
        summary.start_ns,
        summary.end_ns,
        sequence_index=summary.sequence_index,
        input_tokens=summary.input_tokens,
        tokens=np.full(steps, -1, np.int32) if tokens is None else tokens.astype(np.int32),
        columns=measured,
        finish_reason=summary.finish_reason,  # type: ignore[arg-type]
        stop_reason=summary.stop_reason,  # type: ignore[arg-type]
        absent={} if tokens is not None else {"output_tokens": "its token ids are not stored"},
        error_type=summary.error_type,
    )
    flags = {name: getattr(summary, name) for name in FLAGS}
    run.health = Health.of(flags, high_entropy_steps=summary.high_entropy_steps)
    return run


def _as_measured(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return a column as it was before it was stored: counts of layers that nobody looked at are NaN, not -1."""
    if name not in _COUNTS_OF_LAYERS:
        return values
    counts = values.astype(np.float32)
    return np.where(counts < 0, np.float32(np.nan), counts)


def model_of(stored: StoredRun, layers: int | None = None) -> ModelInfo:
    """Return what the span says of the model; the number of layers, if it does not say, is that of the arrays."""
    told = _attribute(stored, semconv.MODEL_LAYER_COUNT)
    facts = {
        "dtype": semconv.MODEL_DTYPE,
        "head_count": semconv.MODEL_HEAD_COUNT,
        "quantization": semconv.MODEL_QUANTIZATION,
        "revision": semconv.MODEL_REVISION,
    }
    return ModelInfo(
        name=stored.summary.model or "",
        architecture=_attribute(stored, semconv.MODEL_ARCHITECTURE) or "",
        layer_count=layers if told is None else told,
        adapters=tuple(_attribute(stored, semconv.MODEL_ADAPTERS) or ()),
        **{field: _attribute(stored, name) for field, name in facts.items()},
    )


def _attribute(stored: StoredRun, name: str) -> Any:
    """Return an attribute of the run's span, or of its call's."""
    return stored.attributes.get(name, (stored.call or {}).get(name))
