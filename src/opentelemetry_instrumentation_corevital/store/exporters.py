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

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = path
        self._shut_down = False

    @property
    def last_error(self) -> StoreError | None:
        """Return why the last spans could not be stored."""
        writer = self._existing_writer()
        return None if writer is None else writer.last_error

    @property
    def dropped(self) -> int:
        """Return how many spans could not be stored."""
        writer = self._existing_writer()
        return 0 if writer is None else writer.dropped

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Queue spans for the background writer; FAILURE if it does not take all of them. Never raises."""
        if self._shut_down:
            return SpanExportResult.FAILURE
        writer, rows = self._writer(), []
        for span in spans:
            try:
                rows.append(span_rows(span))
            except Exception as error:  # somebody else's span, of a kind that the SDK does not make
                writer.drop(1, f"a span could not be read ({type(error).__name__}).")
        stored = writer.submit(rows) and len(rows) == len(spans)
        return SpanExportResult.SUCCESS if stored else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until everything is written; return False after `timeout_millis` milliseconds."""
        writer = self._existing_writer()
        return writer is None or writer.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Write everything and close the file. Later spans are refused."""
        self._shut_down = True
        writer = self._existing_writer()
        if writer is not None:
            writer.close()

    def _existing_writer(self) -> StoreWriter | None:
        return self.__dict__.get("_lazy_writer")

    def _writer(self) -> StoreWriter:
        writer = self._existing_writer()
        if writer is None:
            # Threads that come here at once get the same one: setdefault is atomic, and unlike a lock survives a fork.
            writer = self.__dict__.setdefault("_lazy_writer", StoreWriter(self._path or default_path()))
        return writer


def default_path() -> str:
    """Return where zero-code use stores: the setting `sqlite_path`, else a file in the data folder."""
    path = None
    try:
        path = load_settings().sqlite_path
    except SettingsError as error:
        logger.error("%s. The default path of the store is used.", error)
    return path or os.path.join(data_folder(), "corevital.db")
