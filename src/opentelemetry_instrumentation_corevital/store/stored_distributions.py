"""The numbers of a stored run's distributions, step by step, from wherever all of its steps are stored."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from ..assessment.answer_features import COLUMNS, features_of
from .stored_run import StoredRun

Columns64 = Mapping[str, NDArray[np.float64]]

_SERIES: Final = {
    "entropy": semconv.SERIES_ENTROPY,
    "surprisal": semconv.SERIES_SURPRISAL,
    "margin": semconv.SERIES_MARGIN,
}
_EVENTS: Final = {
    "entropy": semconv.STEP_ENTROPY,
    "surprisal": semconv.STEP_SURPRISAL,
    "margin": semconv.STEP_MARGIN,
    "top1_prob": semconv.STEP_TOP1_PROB,
}
_WITHOUT_TOP1: Final = "top1_lowest"
"""The feature that is not known where no `top1_prob` is: a series has none."""


def stored_features(stored: StoredRun) -> dict[str, float] | str:
    """Return the features of the answer risk that what is stored of a run has; or why there are none.

    They are taken from its run data, else from its step events, else from the series of its span, which lack
    `top1_prob`: whichever has every step of the run.
    """
    columns = stored_columns(stored)
    return "not every step is stored" if columns is None else features_as_stored(columns)


def features_as_stored(columns: Columns64) -> dict[str, float] | str:
    """Return the features of stored columns [T], or of their beginning, which may lack `top1_prob`."""
    if "top1_prob" in columns:
        return features_of(columns)
    found = features_of({**columns, "top1_prob": np.zeros(len(columns["entropy"]))})
    return found if isinstance(found, str) else {k: v for k, v in found.items() if k != _WITHOUT_TOP1}


def stored_columns(stored: StoredRun) -> Columns64 | None:
    """Return entropy, surprisal, margin and, if it is stored, `top1_prob` of every step [T]; None where some lack."""
    steps = stored.attributes.get(semconv.STEPS_TOTAL)
    return _of_run_data(stored) or _of_events(stored, steps) or _of_series(stored, steps)


def _of_run_data(stored: StoredRun) -> Columns64 | None:
    try:
        columns = stored.columns
        if stored.report is not None:  # of the first CoreVital: other signals of the same names
            return None
    except ValueError:
        return None
    if any(name not in columns for name in COLUMNS):
        return None
    return {name: np.asarray(columns[name], np.float64) for name in COLUMNS}


def _of_events(stored: StoredRun, steps: Any) -> Columns64 | None:
    told = {event.attributes.get(semconv.STEP_INDEX): event.attributes for event in stored.steps}
    if not isinstance(steps, int) or not steps or set(told) != set(range(steps)):
        return None
    if any(name not in told[step] for step in range(steps) for name in _EVENTS.values()):
        return None
    return {name: np.array([told[step][each] for step in range(steps)], np.float64) for name, each in _EVENTS.items()}


def _of_series(stored: StoredRun, steps: Any) -> Columns64 | None:
    """Return the series, unless points of them stand for several steps."""
    found = {name: stored.attributes.get(each) for name, each in _SERIES.items()}
    if not steps or any(values is None or len(values) != steps for values in found.values()):
        return None
    return {name: np.asarray(values, np.float64) for name, values in found.items()}
