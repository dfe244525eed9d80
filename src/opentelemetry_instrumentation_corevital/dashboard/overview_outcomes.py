"""What became of the answer risk, on the overview: of the newest runs whose outcome is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..evaluation.labelled_answers import enough
from ..evaluation.ranking import auroc
from ..evaluation.rejection import risk_coverage
from ..evaluation.reliability import calibration_error, perfect_errors, reliability
from ..evaluation.score_blocks import FloatVector, Truths
from ..presentation.pages.evaluation_charts import Chart, coverage_chart, reliability_chart
from ..presentation.pages.page_formats import fixed, number, percent
from ..store.filters import RunFilter
from ..store.outcomes import known_outcomes
from ..store.source import RunSource

MOST_LABELLED: Final = 2000
"""Labelled runs that are read at most, the newest."""
_MOST_MODELS: Final = 6
"""As many as charts have colours."""
_DRAWS: Final = 200
_Q95: Final = 0.95


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What the page shows of them."""

    labelled: int
    """Runs whose outcome is known, at most `MOST_LABELLED`."""
    judged: int
    """Those that have an answer risk."""
    rows: Sequence[Sequence[str]]
    """By model."""
    charts: Sequence[Chart]


def overview_outcomes(source: RunSource, wanted: RunFilter) -> Outcomes | None:
    """Return what became of the answer risk; None where no run's outcome is known."""
    known = known_outcomes(source, wanted, limit=MOST_LABELLED)
    if not known:
        return None
    found: dict[str, list[tuple[float, bool]]] = {}
    for run, wrong in known:
        if run.risk_answer is not None and not run.broken_off:
            found.setdefault(run.model or "unknown model", []).append((run.risk_answer, wrong))
    judged = sum(map(len, found.values()))
    most = sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))[:_MOST_MODELS]
    columns = {name: _columns(pairs) for name, pairs in most}
    return Outcomes(len(known), judged, [_row(name, *each) for name, each in columns.items()], _charts(columns))


def _columns(pairs: Sequence[tuple[float, bool]]) -> tuple[FloatVector, Truths]:
    return np.array([risk for risk, _ in pairs]), np.array([wrong for _, wrong in pairs], bool)


def _charts(columns: Mapping[str, tuple[FloatVector, Truths]]) -> list[Chart]:
    if not columns:
        return []
    bins = {name: reliability(risk, wrong) for name, (risk, wrong) in columns.items()}
    curves = {name: risk_coverage(risk, wrong) for name, (risk, wrong) in columns.items()}
    return [reliability_chart("chart-reliability", bins), coverage_chart("chart-coverage", curves)]


def _row(name: str, risk: FloatVector, wrong: Truths) -> list[Any]:
    errors = perfect_errors(risk, _DRAWS, seed=0)
    return [
        name,
        number(len(wrong)),
        percent(float(wrong.mean())),
        percent(float(risk.mean())),
        fixed(auroc(risk, wrong) if enough(wrong) else None, 3),
        fixed(calibration_error(risk, wrong), 3),
        f"{fixed(float(errors.mean()), 3)}, 95\u202f% within {fixed(float(np.quantile(errors, _Q95)), 3)}",
    ]
