"""The store of a monitor: what its calls have recorded is written when they are over."""

import os
from collections.abc import Sequence
from typing import Any

from opentelemetry._logs import Logger, LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan

from ..semconv import SCOPE_NAME
from ..store import SQLiteLogExporter, SQLiteSpanExporter
from ..store.database import check_place
from ..version import __version__


class MonitorStore:
    """A file that spans and log records are written into.

    Raises:
        StoreError: if nothing can be stored there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_place(path)
        self._spans = SQLiteSpanExporter(path, retain=False)
        self._logs = SQLiteLogExporter(path, retain=False)

    def write(self, spans: Sequence[ReadableSpan], logs: Sequence[ReadableLogRecord]) -> None:
        """Write spans and log records; they are in the file when this returns. Never raises.

        What cannot be written is logged, as every exporter of a store does.
        """
        if spans:
            self._spans.export(spans)
        if logs:
            self._logs.export(logs)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._spans.shutdown()
        self._logs.shutdown()


class KeptLogs:
    """Log records on their way into a store, beside where they go otherwise.

    Args:
        beside: gets each of them, too.
    """

    def __init__(self, beside: Logger) -> None:
        self._beside = beside
        self._kept = _Kept()
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._kept))
        self._own = provider.get_logger(SCOPE_NAME, __version__)

    def emit(self, record: LogRecord) -> None:
        """Take a log record."""
        self._own.emit(record)
        self._beside.emit(record)

    def enabled(self, **_: Any) -> bool:
        """Return that somebody takes log records."""
        return True

    def take(self) -> list[ReadableLogRecord]:
        """Return those that have come since the last time."""
        taken, self._kept.records = self._kept.records, []
        return taken


class _Kept(LogRecordExporter):
    def __init__(self) -> None:
        self.records: list[ReadableLogRecord] = []

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.records += batch
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, _timeout_millis: float = 30_000) -> bool:
        return True
