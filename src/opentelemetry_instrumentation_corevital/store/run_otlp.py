"""One run as it was sent by OTLP: its span, its log records and its data, and nothing of other runs of its trace."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .source import RunSource
from .stored_run import RunSummary

if TYPE_CHECKING:
    from google.protobuf.message import Message


def otlp_of_run(source: RunSource, run: RunSummary) -> "Iterator[Message]":
    """Yield the OTLP messages of one run.

    Args:
        source: where it is stored.
        run: of this source.

    Raises:
        StoreError: where the source does not keep telemetry as it was sent.
    """
    own = bytes.fromhex(run.span_id)
    return (message for message in source.otlp([run.trace_id]) if _span_ids(message) == {own})


def _span_ids(message: Any) -> set[bytes]:
    """Return the spans that a message with spans or with log records is about."""
    spans = (
        each for group in getattr(message, "resource_spans", ()) for some in group.scope_spans for each in some.spans
    )
    logs = (
        each
        for group in getattr(message, "resource_logs", ())
        for some in group.scope_logs
        for each in some.log_records
    )
    return {each.span_id for each in (*spans, *logs)}
