"""The verdict in few words, as a log event: `gen_ai.evaluation.result`."""

from typing import Any

from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import Context

from .. import semconv
from ..assessment.verdict_attributes import carried_attributes
from ..catalogue.fitting import fitting
from ..run import Run


def emit_verdict(logger: Logger, run: Run, context: Context) -> None:
    """Emit a judged run's risk; `context` holds the run's span."""
    if run.risk is None:
        return
    attributes: dict[str, Any] = {
        **carried_attributes(run, "route"),
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
