"""The risk score of a run, by the shipped rules and without a baseline."""

from typing import Any

from opentelemetry_instrumentation_corevital.assessment.early_warning import judge_early_warning
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk


def risk_score(run: Any) -> float:
    """Return the risk score of a run whose layers and attention were captured, in [0, 1]."""
    run.health, run.early_warning = judge_health(run), judge_early_warning(run)
    return float(judge_risk(run).score)
