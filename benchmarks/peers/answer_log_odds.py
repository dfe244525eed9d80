"""CoreVital's answer risk of SmolLM2's answers, by coefficients that have seen neither SmolLM2 nor the task."""

from collections.abc import Callable, Sequence

import numpy as np
from answer_risk.fitting import TERMS, fit
from answer_risk.table import Table
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.answer_features import features_of
from opentelemetry_instrumentation_corevital.assessment.answer_risk import answer_risk
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped

from .own_runs import OwnRun


def log_odds(table: Table, model: str, runs: Sequence[OwnRun], steps: Callable[[OwnRun], int]) -> NDArray[np.float64]:
    """Return the log-odds that each run is wrong.

    Args:
        table: the answers of all models on which the shipped coefficients are fitted.
        model: the one whose runs these are.
        runs: of the model.
        steps: tells how many of a run's steps count.
    """
    fits = {
        task: fit(table.where((table.model != model) & (table.task != task)))
        for task in dict.fromkeys(run.task for run in runs)
    }
    rows = [(run.task, _features(run, steps(run))) for run in runs]
    return np.array(
        [float(fits[task].log_odds(np.array([[found[name] for name in TERMS]]))[0]) for task, found in rows]
    )


def in_support(runs: Sequence[OwnRun]) -> int:
    """Return how many runs the shipped coefficients give a probability."""
    return sum(answer_risk(_features(run, len(run.tokens)), len(run.tokens), shipped()).support for run in runs)


def _features(run: OwnRun, steps: int) -> dict[str, float]:
    found = features_of({name: values[:steps] for name, values in run.columns.items()})
    if isinstance(found, str):
        raise SystemExit(f"question {run.number}: {found}")
    return found
