"""The verdict in few words: as a log event, `gen_ai.evaluation.result`, and on a span with little room."""

from typing import Any

from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import Context

from .. import semconv
from ..run import Run
from ..values import fitting


def verdict_attributes(run: Run) -> dict[str, Any]:
    """Return what must survive on a span whose SDK allows fewer attributes than a run has, the most needed last."""
    first = fitting({semconv.NARRATIVE: run.narrative or None, semconv.WARNINGS: list(run.warnings)})
    return first | routing_attributes(run) | fitting({semconv.STEPS_TOTAL: run.output_tokens})


def routing_attributes(run: Run) -> dict[str, Any]:
    """Return what a router looks at: risk and flags, under the same names on a run's span and on its log events."""
    attributes: dict[str, Any] = {}
    if run.risk is not None:
        attributes |= {semconv.RISK_SCORE: run.risk.score, semconv.RISK_LEVEL: run.risk.level}
    flags = {} if run.health is None else run.health.flags()
    return fitting(attributes | {semconv.HEALTH_FLAGS[name]: value for name, value in flags.items()})


def emit_verdict(logger: Logger, run: Run, context: Context) -> None:
    """Emit a judged run's risk; `context` holds the run's span."""
    if run.risk is None:
        return
    attributes: dict[str, Any] = {
        **routing_attributes(run),
        semconv.EVALUATION_NAME: "corevital.risk",
        semconv.EVALUATION_SCORE: run.risk.score,
        semconv.EVALUATION_LABEL: run.risk.level,
    }
    if run.narrative:
        attributes[semconv.EVALUATION_EXPLANATION] = run.narrative
    logger.emit(
        LogRecord(
            timestamp=run.end_ns,
            context=context,
            severity_number=SeverityNumber.WARN if run.risk.level == "high" else SeverityNumber.INFO,
            event_name=semconv.EVALUATION_EVENT,
            attributes=fitting(attributes),
        )
    )
