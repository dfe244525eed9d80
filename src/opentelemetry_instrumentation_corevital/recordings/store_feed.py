"""What brings telemetry into the store of a recording: exporters behind queues, so that no `generate()` waits."""

import atexit
import os
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry import trace
from opentelemetry._logs import Logger
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span

from ..emission.instruments import Instruments, instruments_of
from ..instrumentation.flushing import flush_too, flush_too_no_more
from ..instrumentation.patched_methods import lock
from ..run import Run
from ..semconv import SCOPE_NAME
from ..store import Retention, SQLiteLogExporter, SQLiteMetricExporter, SQLiteSpanExporter
from ..version import __version__

QUEUED_SPANS: Final = 2048
SPANS_AT_A_TIME: Final = 64
QUEUED_LOGS: Final = 4096
"""Takes the run data of a long run."""
LOGS_AT_A_TIME: Final = 256
DELAY_MS: Final = 500
"""How long what has ended waits for its storing, at most, in milliseconds: a SIGKILL loses no more."""


class StoreFeed:
    """Spans, log records and metrics on their way into one file, for all recordings that store there.

    Args:
        path: the file.
        retention: what is removed as it grows, whatever the settings are.
    """

    def __init__(self, path: str, retention: Retention) -> None:
        resource = _resource()
        self.path = path
        self.users = 0
        """How many recordings store here."""
        spans, logs = SQLiteSpanExporter(path, retain=retention), SQLiteLogExporter(path, retain=retention)
        metrics = SQLiteMetricExporter(path, retain=retention)
        self.tracer_provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        """Makes the spans that nobody else records. It has no exporter: every span that has ended is handed over."""
        self._spans = BatchSpanProcessor(
            spans,
            max_queue_size=QUEUED_SPANS,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=SPANS_AT_A_TIME,
        )
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(
            BatchLogRecordProcessor(
                logs,
                schedule_delay_millis=DELAY_MS,
                max_export_batch_size=LOGS_AT_A_TIME,
                max_queue_size=QUEUED_LOGS,
            )
        )
        self._metrics = MeterProvider(
            [PeriodicExportingMetricReader(metrics)], resource=resource, shutdown_on_exit=False
        )
        self.logger: Logger = self._logs.get_logger(SCOPE_NAME, __version__)
        self.instruments: Instruments = instruments_of(self._metrics)
        self._closed = False
        self._ends: tuple[Any, ...] = (self._spans, self._logs, self._metrics)
        flush_too(self._ends)
        atexit.register(self.close)

    def judged(self, runs: Sequence[Run]) -> None:
        """Do nothing: a run comes with its span."""

    def span_ended(self, span: Span) -> None:
        """Queue a span; one that is not sampled, or not of the SDK, is left out."""
        if isinstance(span, ReadableSpan) and not self._closed:  # else of a call that went on at its end
            self._spans.on_end(span)

    def flush(self) -> None:
        """Wait until the spans and log records of calls that have ended are stored."""
        self._spans.force_flush()
        self._logs.force_flush()

    def close(self) -> None:
        """Store everything; take nothing more."""
        self._closed = True
        atexit.unregister(self.close)
        flush_too_no_more(self._ends)
        self.instruments.close()
        for each in (*self._ends, self.tracer_provider):
            each.shutdown()


_feeds: dict[str, StoreFeed] = {}
"""Those that are open, by the real path of their file. `lock` guards it."""


def feed_of(path: str, retention: Retention) -> StoreFeed:
    """Return what brings telemetry into a file; the recordings that store there share it. `leave_feed` ends it."""
    with lock:
        key = os.path.realpath(path)
        if key not in _feeds:
            _feeds[key] = StoreFeed(path, retention)
        _feeds[key].users += 1
        return _feeds[key]


def leave_feed(feed: StoreFeed) -> None:
    """Store everything; the last recording that stores there closes the file."""
    with lock:
        feed.users -= 1
        last = not feed.users
        if last:
            _feeds.pop(os.path.realpath(feed.path), None)
    if last:
        feed.close()
    else:
        feed.flush()


def _resource() -> Resource:
    """Return what the telemetry is of: what the caller's spans say, else what the environment does."""
    found = getattr(trace.get_tracer_provider(), "resource", None)
    if isinstance(found, Resource):
        return found
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "corevital"}))
    return found
