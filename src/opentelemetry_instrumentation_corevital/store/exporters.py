"""The store as OpenTelemetry exporters: `corevital_sqlite` for `OTEL_{TRACES,LOGS,METRICS}_EXPORTER`.

Exporters of one process that store in the same file share a writer, so its errors and losses are those of all.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.metrics.view import Aggregation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ..config import Settings, SettingsError, data_folder, load_settings
from . import sharing
from .database import StoreError
from .logs import log_record
from .metrics import metric_rows, scoped_metrics
from .retention import Retention
from .rows import Record
from .run_data import MalformedError
from .spans import span_rows
from .writer import StoreWriter

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


class _StoreExporter:
    """What the exporters have in common."""

    def __init__(self, path: str | os.PathLike[str] | None = None, *, retain: bool = True) -> None:
        self._path = path
        self._retains = retain
        self._joined: StoreWriter | None = None
        self._shut_down = False

    @property
    def path(self) -> str:
        """Return the file: the one given, else the setting's or the default one."""
        return os.fsdecode(default_path() if self._path is None else self._path)

    @property
    def last_error(self) -> StoreError | None:
        """Return why the last telemetry for the file could not be stored."""
        return None if self._joined is None else self._joined.last_error

    @property
    def dropped(self) -> int:
        """Return how many spans, log records and metrics for the file could not be stored, in this process."""
        return 0 if self._joined is None else self._joined.dropped

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Wait until everything is written; return False after `timeout_millis` milliseconds."""
        return self._joined is None or self._joined.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Write everything and, if no other exporter of the process uses it, close the file. Later items are refused.

        Args:
            timeout_millis: about how long to wait for the disk, in milliseconds.
        """
        self._shut_down = True
        if self._joined is not None:
            sharing.leave(self._joined, self, timeout_millis / 1000)

    def _writer(self) -> StoreWriter:
        if self._joined is None:
            settings = _settings()
            retention = Retention(settings.sqlite_retention_days, settings.sqlite_max_bytes) if self._retains else None
            path = _default_path(settings) if self._path is None else self._path
            self._joined = sharing.join(path, self, retention)
        return self._joined

    def _store(self, items: Iterable[Item], read: Callable[[Item], Record], what: str) -> bool:
        """Queue items for the background writer; return False if it does not take all of them. Never raises."""
        if self._shut_down:
            return False
        writer, records, readable = self._writer(), [], True
        for item in items:
            try:
                records.append(read(item))
                continue
            except MalformedError as error:
                reason = str(error)
            except Exception as error:  # somebody else's, of a kind that the SDK does not make
                reason = f"a {what} could not be read ({type(error).__name__})."
            writer.drop(1, reason)
            readable = False
        return writer.submit(records) and readable


class SQLiteSpanExporter(_StoreExporter, SpanExporter):
    """Stores every span that it is given.

    The constructor opens nothing and never raises: under zero-code start-up that would end all instrumentation.

    Args:
        path: the file; default the setting `sqlite_path`, else `corevital/corevital.db` in the XDG data folder.
        retain: whether the settings `sqlite_retention_days` and `sqlite_max_bytes` hold; False keeps everything.
    """

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Queue spans for the background writer; FAILURE if it does not take all of them. Never raises."""
        return SpanExportResult.SUCCESS if self._store(spans, span_rows, "span") else SpanExportResult.FAILURE


class SQLiteLogExporter(_StoreExporter, LogRecordExporter):
    """Stores every log record that it is given; chunks of run data are joined to a row of `run_data`.

    The constructor opens nothing and never raises.

    Args:
        path: the file; default as that of `SQLiteSpanExporter`.
        retain: as there.
    """

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Queue log records for the background writer; FAILURE if it does not take all of them. Never raises."""
        stored = self._store(batch, log_record, "log record")
        return LogRecordExportResult.SUCCESS if stored else LogRecordExportResult.FAILURE


class SQLiteMetricExporter(_StoreExporter, MetricExporter):
    """Stores the newest point of every series of metrics.

    The constructor opens nothing and never raises.

    Args:
        path: the file; default as that of `SQLiteSpanExporter`.
        preferred_temporality: instrument class -> temporality; default cumulative for all.
        preferred_aggregation: instrument class -> aggregation; default the SDK's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        preferred_temporality: dict[type, AggregationTemporality] | None = None,
        preferred_aggregation: dict[type, Aggregation] | None = None,
    ) -> None:
        MetricExporter.__init__(self, preferred_temporality, preferred_aggregation)
        _StoreExporter.__init__(self, path)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002
        **_: Any,
    ) -> MetricExportResult:
        """Queue metrics for the background writer; FAILURE if it does not take all of them. Never raises."""
        stored = self._store(scoped_metrics(metrics_data), metric_rows, "metric")
        return MetricExportResult.SUCCESS if stored else MetricExportResult.FAILURE


def default_path() -> str:
    """Return where zero-code use stores: the setting `sqlite_path`, else a file in the data folder."""
    return _default_path(_settings())


def _default_path(settings: Settings) -> str:
    return settings.sqlite_path or os.path.join(data_folder(), "corevital.db")


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        logger.error("%s. The store's defaults are used.", error)
        return Settings.model_construct()
