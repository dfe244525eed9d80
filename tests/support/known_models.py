"""What the judges know of a model whose healthy runs are given, from plain quantiles instead of sketches."""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np

from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.baselines.run_numbers import (
    LEVELS,
    RunLimit,
    Yardstick,
    run_number,
)
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows, parts
from opentelemetry_instrumentation_corevital.calibration import fit_profile
from opentelemetry_instrumentation_corevital.run import Run


def known(runs: Sequence[Run], *, margin: float = 2.0) -> Thresholds:
    """Return thresholds with the profile of some runs, and a limit that is by this factor above their numbers."""
    layers = runs[0].model.layer_count
    assert layers is not None
    rows = TableRows(layers)
    table = np.full((0, rows.count), np.nan)
    for run in runs:
        for part in parts(run, rows):
            more = np.full((len(part.table), rows.count), np.nan)
            more[:, part.rows] = part.table
            table = np.concatenate([table, more])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows that no run has
        yardstick = Yardstick.of_quantiles(np.nanquantile(table, LEVELS, axis=0), rows)
    numbers = [number.value for run in runs if (number := run_number(parts(run, rows), yardstick)) is not None]
    return dataclasses.replace(DEFAULT, profile=fit_profile(runs), limit=RunLimit(margin * max(numbers), yardstick))


def is_beyond(run: Run, limit: RunLimit) -> bool:
    """Return whether a run is beyond a limit."""
    number = run_number(parts(run, limit.yardstick.rows), limit.yardstick)
    return number is not None and number.value > limit.value
