"""The step at which a call failed: measured, but without a token, so that it is in no column of the run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._internal.safety import shielded
from ...run import NONFINITE_COUNTS, Run
from ..backends.backend import Backend
from ..collector.presence import Presence
from ..collector.step import Step
from ..row.host_transfer import RowStore
from ..row.layout import DONE, every_step_columns, logit_columns

Faults = Mapping[str, NDArray[Any]]
"""Counts of what is not finite in one sequence's step, each [1] or [1, layers]; empty where it is healthy."""

_IN_LAYERS = ("hidden_nan", "hidden_inf")


def faults_of(row: NDArray[np.float32], presence: Presence) -> Faults:
    """Return the faults of one sequence's row [1, width].

    A model may mask entries of its vocabulary with -Inf: what is left is a distribution.
    """
    columns = logit_columns(row)
    if row.shape[1] > presence.layout.start:
        columns |= every_step_columns(row, presence.layout, presence.absent)
    in_layers = {name: columns[name] for name in _IN_LAYERS if name in columns}
    if np.isnan(columns["entropy"]).any() or any(np.nansum(counts) for counts in in_layers.values()):
        return {name: columns[name] for name in NONFINITE_COUNTS} | in_layers
    return {}


def faults_before_token(step: Step, backend: Backend, presence: Presence) -> list[Faults] | None:
    """Return each sequence's faults at a step that was measured but failed before its token was chosen.

    Sampling refuses logits that are not finite: the step that tells why the call failed has no token. None where
    nothing was wrong with it.

    Raises:
        RuntimeError: where the device does not answer any more.
    """
    step.choose_none()
    rows = backend.read(backend.row(step))
    with shielded("capture.failed_step"):
        faults = [faults_of(row[None], presence) for row in rows]
        return faults if any(faults) else None
    return None


def add_failed_step(
    runs: Sequence[Run], rows: RowStore | None, failed: Sequence[Faults] | None, *, unread: bool
) -> None:
    """Give runs that were not over what is known of the step at which the call failed.

    Args:
        runs: of the call's sequences.
        rows: of the steps before; None where there are none.
        failed: each sequence's faults at that step; None where there are none, or no such step.
        unread: whether there was such a step, and the device did not answer any more.
    """
    over: NDArray[np.bool_] = np.zeros(len(runs), bool)
    if rows is not None:
        over = np.any(rows.rows[:, :, DONE] > 0, axis=0)
    for run, faults, done in zip(runs, failed or (), over, strict=False):
        if faults and not done:
            run.failed_step = dict(faults)
            run.absent.pop("nonfinite", None)
    for run, done in zip(runs, over, strict=True):
        if unread and not done:
            _doubt(run)


def _doubt(run: Run) -> None:
    """Take back that nothing was wrong in a run whose last step could not be read."""
    names = (*NONFINITE_COUNTS, *_IN_LAYERS)
    if not any(np.nansum(run.columns[name]) for name in names if name in run.columns):
        for name in NONFINITE_COUNTS:
            run.columns.pop(name, None)
        run.absent["nonfinite"] = "the step at which the call failed could not be read from the device"
