"""Predictions for runs of a model and a task of which the fit has seen nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fitting import TERMS, Fit, fit
from .table import Table, Vector

Fitted = Callable[[Table], Fit]


def left_out(
    table: Table, *, tasks: bool = True, half: bool = False, names: tuple[str, ...] = TERMS, fitted: Fitted = fit
) -> Vector:
    """Return each run's log-odds by a fit without its model, and without its task.

    Args:
        table: of all runs.
        tasks: whether the task is left out, too.
        half: whether the features are those of the first half of the tokens; the fit is that of whole answers.
        names: features.
        fitted: fits a table.
    """
    found = np.full(len(table.wrong), np.nan)
    for model, task in sorted(set(zip(table.model.tolist(), table.task.tolist(), strict=True))):
        asked = (table.model == model) & (table.task == task)
        others = table.model != model
        if tasks:
            others &= table.task != task
        made = fitted(table.where(others))
        found[asked] = made.log_odds(table.features(names, half=half)[asked])
    return found


def probabilities(log_odds: Vector) -> Vector:
    """Return the probabilities of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0))))


def two_sided(table: Table, fewest: int = 5) -> list[tuple[str, NDArray[Any]]]:
    """Return the pairs of model and task that have so many runs of each outcome, and where they are."""
    groups = {name: table.group == name for name in sorted(set(table.group.tolist()))}
    counts = {name: (table.wrong[some].sum(), some.sum()) for name, some in groups.items()}
    return [(name, groups[name]) for name, (wrong, runs) in counts.items() if fewest <= wrong <= runs - fewest]
