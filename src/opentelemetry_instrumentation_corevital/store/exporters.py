"""The store as OpenTelemetry exporters: `corevital_sqlite` for `OTEL_{TRACES,LOGS,METRICS}_EXPORTER`.

Exporters of one process that store in the same file share a writer, so its errors and losses are those of all.

`export()` returns when its items are committed, so that what the SDK has flushed is on the disk. A batch processor
calls it on a thread of its own. `SimpleSpanProcessor` calls it on the caller's: inside of `generate()` that is kept
waiting for half a second at most, and the rest is written behind.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

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

from .._internal import generate_state
from ..config import Settings, SettingsError, data_folder, load_settings
from . import exporter_options, shared_writers
from .common_rows import Record
from .log_rows import log_record
from .metric_rows import metric_rows, scoped_metrics
from .retention import Retention
from .run_data_rows import MalformedError
from .span_rows import span_rows
from .store_error import StoreError
from .writer import StoreWriter

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

EXPORT_SECONDS: Final = 10.0
"""How long `export()` waits for the file, outside of `generate()`."""


class _StoreExporter:
    """What the exporters have in common."""

    def __init__(self, path: str | os.PathLike[str] | None = None, *, retain: bool | Retention = True) -> None:
        self._path = path
        self._retains = retain
        self._joined: StoreWriter | None = None
        self._earlier: list[StoreWriter] = []
        self._shut_down = False
        self._unwritten = 0
        self._given = exporter_options.join(self)

    @property
    def path(self) -> str:
        """Return the file: the one given, else the setting's or the default one."""
        return os.fsdecode(path_of(_settings(self._given)) if self._path is None else self._path)

    def use(self, given: exporter_options.Keywords) -> None:
        """Take options of `instrument()`, which win over the environment; what was exported stays where it is."""
        if given == self._given:
            return
        self._given = given
        joined, self._joined = self._joined, None
        if joined is not None:  # left at the shutdown, so that nobody waits here
            self._earlier.append(joined)

    @property
    def last_error(self) -> StoreError | None:
        """Return why the last telemetry for the file could not be stored."""
        return None if self._joined is None else self._joined.last_error

    @property
    def dropped(self) -> int:
        """Return how many spans, log records and metrics for the file could not be stored, in this process."""
        return sum(writer.dropped for writer in self._writers())

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Wait until everything is written.

        Return False after `timeout_millis` milliseconds, and where the file has refused something since the last call.
        """
        end = time.monotonic() + timeout_millis / 1000
        written = [writer.flush(max(0.0, end - time.monotonic())) for writer in self._writers()]
        before, self._unwritten = self._unwritten, sum(writer.unwritten for writer in self._writers())
        return all(written) and self._unwritten == before

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Write everything and, if no other exporter of the process uses it, close the file. Later items are refused.

        Args:
            timeout_millis: about how long to wait for the disk, in milliseconds.
        """
        self._shut_down = True
        end = time.monotonic() + timeout_millis / 1000
        for writer in self._writers():
            shared_writers.leave(writer, self, max(0.0, end - time.monotonic()))

    def _writers(self) -> list[StoreWriter]:
        """Return the writers that were used, each once: options that changed may have led to the same file."""
        return list(dict.fromkeys([*self._earlier, *([] if self._joined is None else [self._joined])]))

    def _writer(self) -> StoreWriter:
        if self._joined is None:
            settings = _settings(self._given)
            retention = self._retains if isinstance(self._retains, Retention) else None
            if self._retains is True:
                retention = Retention(settings.sqlite_retention_days, settings.sqlite_max_bytes)
            path = path_of(settings) if self._path is None else self._path
            self._joined = shared_writers.join(path, self, retention)
            if self._given and retention is not None:  # not as who joined first has it
                self._joined.retain(retention)
        return self._joined

    def _store(
        self, items: Iterable[Item], read: Callable[[Item], Record], what: str, seconds: float | None = None
    ) -> bool:
        """Store items; return whether all of them are committed. Never raises.

        Waits for the file for `seconds` (None: `EXPORT_SECONDS`), inside of `generate()` as long as it still may.
        """
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
        started = time.monotonic()
        receipt = writer.write(records, generate_state.patience(EXPORT_SECONDS if seconds is None else seconds))
        generate_state.waited(time.monotonic() - started)
        return receipt.durable and readable


class SQLiteSpanExporter(_StoreExporter, SpanExporter):
    """Stores every span that it is given.

    The constructor opens nothing and never raises: under zero-code start-up that would end all instrumentation.

    Args:
        path: the file; default the setting `sqlite_path`, else `corevital/corevital.db` in the XDG data folder.
        retain: whether the settings `sqlite_retention_days` and `sqlite_max_bytes` hold; False keeps everything, and a
            `Retention` holds whatever the settings are.
    """

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store spans; SUCCESS once all of them are committed, else FAILURE. Never raises."""
        return SpanExportResult.SUCCESS if self._store(spans, span_rows, "span") else SpanExportResult.FAILURE


class SQLiteLogExporter(_StoreExporter, LogRecordExporter):
    """Stores every log record that it is given; chunks of run data are joined to a row of `run_data`.

    The constructor opens nothing and never raises.

    Args:
        path: the file; default as that of `SQLiteSpanExporter`.
        retain: as there.
    """

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Store log records; SUCCESS once all of them are committed, else FAILURE. Never raises."""
        stored = self._store(batch, log_record, "log record")
        return LogRecordExportResult.SUCCESS if stored else LogRecordExportResult.FAILURE


class SQLiteMetricExporter(_StoreExporter, MetricExporter):
    """Stores the newest point of every series of metrics.

    The constructor opens nothing and never raises.

    Args:
        path: the file; default as that of `SQLiteSpanExporter`.
        preferred_temporality: instrument class -> temporality; default cumulative for all.
        preferred_aggregation: instrument class -> aggregation; default the SDK's.
        retain: as that of `SQLiteSpanExporter`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        preferred_temporality: dict[type, AggregationTemporality] | None = None,
        preferred_aggregation: dict[type, Aggregation] | None = None,
        *,
        retain: bool | Retention = True,
    ) -> None:
        MetricExporter.__init__(self, preferred_temporality, preferred_aggregation)
        _StoreExporter.__init__(self, path, retain=retain)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,
        **_: Any,
    ) -> MetricExportResult:
        """Store metrics; SUCCESS once all of them are committed, else FAILURE. Never raises."""
        seconds = min(timeout_millis / 1000, EXPORT_SECONDS)
        stored = self._store(scoped_metrics(metrics_data), metric_rows, "metric", seconds)
        return MetricExportResult.SUCCESS if stored else MetricExportResult.FAILURE


def default_path() -> str:
    """Return where zero-code use stores: the setting `sqlite_path`, else a file in the data folder."""
    return path_of(_settings(exporter_options.given()))


def path_of(settings: Settings) -> str:
    """Return where these settings store: the option `sqlite_path`, else a file in the data folder."""
    return settings.sqlite_path or os.path.join(data_folder(), "corevital.db")


def _settings(given: exporter_options.Keywords) -> Settings:
    try:
        return load_settings(given)
    except SettingsError as error:
        logger.error("%s. The store's defaults are used.", error)
        return Settings.model_construct(**given)
