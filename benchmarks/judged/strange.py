"""How far out a run of a calibration has to be to count as strange, see `baselines.profile_limits.STRANGE`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import numpy as np

from opentelemetry_instrumentation_corevital.baselines.profile_limits import STRANGE, limit_of_all
from opentelemetry_instrumentation_corevital.baselines.run_numbers import MANY_RUNS, run_number
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows, parts
from opentelemetry_instrumentation_corevital.run import Run

from .verdicts import Baseline, Judge, first_blamed

TIMES: Final = (1.25, 1.5, 1.75, STRANGE, 2.5, 3.0, inf)
"""What is tried, from the smallest; without end no run is strange."""
DRAWS: Final = 100
"""Smaller calibrations that are drawn from one."""


@dataclass(frozen=True, slots=True)
class Strange:
    """What a calibrated baseline does where runs so many times as far out as the others are strange: counts of runs.

    Attributes:
        right: faults whose layer is blamed first.
        faults: all of them.
        beyond: healthy runs that are beyond the limit.
        healthy: all of them.
        beyond_fewer: of `DRAWS` calibrations of `MANY_RUNS` of the runs, on average.
    """

    right: int = 0
    faults: int = 0
    beyond: int = 0
    healthy: int = 0
    beyond_fewer: float = 0.0

    def __add__(self, other: "Strange") -> "Strange":
        """Return the sum."""
        return Strange(
            self.right + other.right,
            self.faults + other.faults,
            self.beyond + other.beyond,
            self.healthy + other.healthy,
            self.beyond_fewer + other.beyond_fewer,
        )


def strange(baseline: Baseline, healthy: Sequence[Run], faults: Sequence[tuple[Run, int | None]]) -> list[Strange]:
    """Return what a calibrated baseline does, for each of `TIMES`.

    Args:
        baseline: a calibrated one.
        healthy: runs that are judged.
        faults: runs with the layer of their fault.
    """
    if baseline.limit is None or baseline.profile is None or baseline.profile.runs is None:
        return []
    usual = np.array(baseline.profile.runs.values)
    rows = TableRows(healthy[0].model.layer_count or 0)
    measured = (run_number(parts(run, rows), baseline.limit.yardstick) for run in healthy)
    numbers = np.array([number.value for number in measured if number is not None])
    few = min(MANY_RUNS, len(usual))
    draws = [np.random.default_rng(seed).choice(usual, few, replace=False) for seed in range(DRAWS)]
    right: dict[float, int] = {}
    found = []
    for times in TIMES:
        limit = limit_of_all(usual, times) or inf
        if limit not in right:
            judge = Judge(replace(baseline, limit=replace(baseline.limit, value=limit)))
            right[limit] = sum(first_blamed(judge.layers(run)) == layer for run, layer in faults)
        fewer = [(numbers > (limit_of_all(draw, times) or inf)).sum() for draw in draws]
        found.append(
            Strange(right[limit], len(faults), int((numbers > limit).sum()), len(healthy), float(np.mean(fewer)))
        )
    return found


def chosen(models: Sequence[Sequence[Strange]], most: float = 0.01) -> int:
    """Return the smallest of `TIMES`, by its place, with which fewer runs keep what is promised, on some models."""
    sums = [sum(each, Strange()) for each in zip(*models, strict=True)]
    kept = [place for place, one in enumerate(sums) if one.beyond_fewer <= most * one.healthy]
    return kept[0] if kept else len(TIMES) - 1
