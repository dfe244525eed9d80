"""A finished span of this process as the run that a store would give back, without a store."""

from opentelemetry.sdk.trace import ReadableSpan

from .common_rows import to_json
from .run_reader import stored_run
from .span_rows import RUN_COLUMNS, is_of_a_run, span_rows
from .stored_run import COLUMNS, StoredRun, summary_of


def run_of_span(span: ReadableSpan) -> StoredRun | None:
    """Return the run of a span, its values checked as those of a stored one; None for the span of anything else."""
    if not is_of_a_run(span.attributes or {}):
        return None
    found = span_rows(span).run
    if found is None:
        return None
    row = dict(zip(RUN_COLUMNS, found, strict=True))
    return stored_run(
        summary_of(tuple(row.get(name) for name in COLUMNS)),
        to_json(span.attributes or {}),
        [(event.name, event.timestamp, to_json(event.attributes)) for event in span.events],
        dropped=(span.dropped_attributes, span.dropped_events),
    )
