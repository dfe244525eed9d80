"""The store as an OpenTelemetry exporter: `OTEL_TRACES_EXPORTER=corevital_sqlite`."""

import logging
import os
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ..config import SettingsError, data_folder, load_settings
from .database import StoreError
from .rows import span_rows
from .writer import StoreWriter

logger = logging.getLogger(__name__)


class SQLiteSpanExporter(SpanExporter):
    """Stores every span that it is given.

    The constructor opens nothing and never raises: under zero-code start-up that would end all instrumentation.

    Args:
        path: the file; default the setting `sqlite_path`, else `corevital/corevital.db` in the XDG data folder.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._writer: StoreWriter | None = None

    @property
    def last_error(self) -> StoreError | None:
        """Return why the last spans could not be stored."""
        return None if self._writer is None else self._writer.last_error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Queue spans for the background writer."""
        rows = [span_rows(span) for span in spans]
        return SpanExportResult.SUCCESS if self._store().submit(rows) else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until everything is written."""
        return self._writer is None or self._writer.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Write everything and close the file."""
        if self._writer is not None:
            self._writer.close()

    def _store(self) -> StoreWriter:
        if self._writer is None:
            self._writer = StoreWriter(self._path or default_path())
        return self._writer


def default_path() -> str:
    """Return where zero-code use stores: the setting `sqlite_path`, else a file in the data folder."""
    path = None
    try:
        path = load_settings().sqlite_path
    except SettingsError as error:
        logger.error("%s. The default path of the store is used.", error)
    return path or os.path.join(data_folder(), "corevital.db")
