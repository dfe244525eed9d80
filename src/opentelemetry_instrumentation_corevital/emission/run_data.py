"""Run data: every step x signal x layer of a run as one compressed NumPy `.npz`, in log events."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from opentelemetry._logs import Logger, LogRecord, NoOpLogger, SeverityNumber, get_logger_provider
from opentelemetry.context import Context

from .. import semconv
from .._internal.npz import ENTRY_BYTES, entry_bytes, estimated_bytes, to_npz
from ..assessment.prompt_arrays import prompt_arrays
from ..assessment.verdict_attributes import carried_attributes
from ..catalogue import alternative_names, prompt_columns, signals
from ..catalogue.fitting import fitting
from ..catalogue.signal import Dtype
from ..run import Run

CHUNK_BYTES: Final = 7 * 1024
"""A batch of 512 such records stays below the 4 MiB that a gRPC receiver takes."""
MAX_RECORDS: Final = 1792
"""Chunks and verdicts of a call: a batching log processor queues 2,048 records and drops what comes beyond."""


def run_columns(run: Run, *, content: bool) -> dict[str, NDArray[Any]]:
    """Return what a run's data hold: its columns, their times and, with content switched on, the token ids."""
    columns: dict[str, NDArray[Any]] = {"time_ns": run.time_ns}
    if content and run.output_tokens is not None:
        columns["tokens"] = run.tokens
    if run.alternatives is not None:
        columns[alternative_names.PROBABILITY] = run.alternatives.probabilities
        if content and run.alternatives.tokens is not None:
            columns[alternative_names.TOKEN] = run.alternatives.tokens
    stored = {each.name: each.stored for each in signals.in_row()}
    columns |= {name: _stored(values, stored.get(name)) for name, values in run.columns.items()}
    return columns | prompt_arrays(run.prompt_analysis, content=content)


def _stored(values: NDArray[Any], dtype: Dtype | None) -> NDArray[Any]:
    """Return a column as it is stored; one that the catalogue does not know as it is."""
    if dtype is None:
        return values
    return (np.nan_to_num(values, nan=-1.0) if dtype == "int32" else values).astype(dtype, copy=False)


def most_bytes(sequences: int) -> int:
    """Return how many bytes of run data each of a call's sequences may have: its part, less its verdict's record."""
    return max(0, MAX_RECORDS // sequences - 1) * CHUNK_BYTES


def pack(run: Run, *, content: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """Return a run's data and the columns that had to be left out for its size; None and all of them if none fit.

    Compressing is most of the work, so sizes are estimated first. Where the estimate was too low, the first attempt has
    told them exactly, and the second fits.
    """
    columns, room = run_columns(run, content=content), most_bytes(run.sequence_count)
    names = tuple(columns)
    sizes = {name: ENTRY_BYTES + values.nbytes for name, values in columns.items()}
    if sum(sizes.values()) > room:
        sizes = {name: estimated_bytes(values) for name, values in columns.items()}
    for _ in range(2):
        kept = _fitting(sizes, room)
        if not kept:
            break
        data = to_npz({name: columns[name] for name in kept})
        if len(data) <= room:
            return data, tuple(name for name in names if name not in kept)
        sizes = entry_bytes(data)
    return None, names


def _fitting(sizes: Mapping[str, int], room: int) -> list[str]:
    """Return the columns of these sizes that fit into `room` bytes; none if even those of one per step do not."""
    kept = dict(sizes)
    leave_out = (
        *prompt_columns.LEAVE_OUT,
        *signals.leave_out(),
        alternative_names.TOKEN,
        alternative_names.PROBABILITY,
    )
    for name in leave_out:
        if sum(kept.values()) <= room:
            break
        kept.pop(name, None)
    return list(kept) if sum(kept.values()) <= room else []


def records(run: Run, data: bytes, context: Context) -> Iterator[LogRecord]:
    """Yield the log events that carry a run's data; `context` holds the run's span.

    Each says what a router looks at on the span: risk level and flags.
    """
    count = max(1, -(-len(data) // CHUNK_BYTES))
    attributes = fitting(
        {
            semconv.GEN_AI_REQUEST_MODEL: run.model.name,
            **carried_attributes(run, "route"),
            # Last, since an SDK with a lower limit drops the first ones, and without these nobody can join the chunks.
            semconv.RUN_DATA_SHA256: hashlib.sha256(data).hexdigest(),
            semconv.RUN_DATA_SIZE: len(data),
            semconv.RUN_DATA_CHUNK_COUNT: count,
        }
    )
    for index in range(count):
        yield LogRecord(
            timestamp=run.end_ns,
            context=context,
            severity_number=SeverityNumber.INFO,
            event_name=semconv.RUN_DATA_EVENT,
            body=data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES],
            attributes={**attributes, semconv.RUN_DATA_CHUNK_INDEX: index},
        )


def takes_logs(logger: Logger) -> bool:
    """Whether log records go anywhere, as far as the API tells."""
    enabled = getattr(logger, "enabled", None)
    if enabled is not None:
        return bool(enabled(event_name=semconv.RUN_DATA_EVENT))
    # Older versions cannot be asked. There a logger that waits for a provider, and the provider that stands in for one
    # until it is set, are classes without a public name.
    waiting = type(logger).__name__ == "ProxyLogger" and type(get_logger_provider()).__name__ == "ProxyLoggerProvider"
    return not waiting and not isinstance(logger, NoOpLogger)
