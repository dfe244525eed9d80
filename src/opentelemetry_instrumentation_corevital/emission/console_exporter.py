"""Runs on the console, as people read them: `corevital_console` for `OTEL_TRACES_EXPORTER`.

What a run looks like is the option `console`. A batch processor hands spans over some seconds after they ended;
`OTEL_BSP_SCHEDULE_DELAY`, in milliseconds, says how many.
"""

import json
import logging
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ..config import ConsoleStyle, Settings, SettingsError, load_settings
from ..store import exporter_options

if TYPE_CHECKING:
    from ..store.stored_run import StoredRun

logger = logging.getLogger(__name__)

_DEFAULT: Final[ConsoleStyle] = "compact"


class ConsoleRunExporter(SpanExporter):
    """Prints each run that it is given, in colour on a terminal; spans of anything else are left out.

    The constructor and `export()` never raise.

    Args:
        style: `compact`: three lines, and one where it is no terminal; `panel`: all that `corevital run` prints of a
            verdict; `json`: one line, as in `corevital runs --json`. Default: the option `console`.
        out: where to print; default standard output, whatever that is at the time.
    """

    def __init__(self, style: ConsoleStyle | None = None, *, out: IO[str] | None = None) -> None:
        self._own_style = style
        self._out = out
        self._style: ConsoleStyle | None = None
        self._told = False
        self._shut_down = False
        self._given = exporter_options.join(self)

    def use(self, given: exporter_options.Keywords) -> None:
        """Take options of `instrument()`, which win over the environment."""
        self._given, self._style = given, None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Print the runs among the spans; FAILURE where one could not be shown or printed. Never raises."""
        if self._shut_down:
            return SpanExportResult.FAILURE
        try:
            return SpanExportResult.SUCCESS if self._print(spans) else SpanExportResult.FAILURE
        except Exception as error:
            self._tell(error)
            return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Print nothing from now on."""
        self._shut_down = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - nothing waits
        """Return True: what was exported is printed."""
        return True

    def _print(self, spans: Sequence[ReadableSpan]) -> bool:
        """Print the runs in one piece, so that other processes do not print between their lines; return whether all."""
        from ..store.span_run import run_of_span

        out, whole, shown = self._out or sys.stdout, True, list[str]()
        if out is None:  # as under pythonw
            return False
        for span in spans:
            try:
                run = run_of_span(span)
                if run is not None:
                    shown.append(self._text(run, out, alone=span.parent is None or run.summary.operation is None))
            except Exception as error:  # one bad span hides no other
                self._tell(error)
                whole = False
        if not shown:
            return whole
        try:
            _write("".join(shown), out)
        except (OSError, ValueError):  # nobody reads it any more, or it was closed
            return False
        return whole

    def _text(self, run: "StoredRun", out: IO[str], *, alone: bool) -> str:
        from ..presentation.console_text import console_text

        style = self._chosen_style()
        if style == "json":
            return f"{json.dumps(run.summary.as_dict())}\n"
        return console_text(run, out, panel=style == "panel", alone=alone)

    def _chosen_style(self) -> ConsoleStyle:
        if self._own_style is not None:
            return self._own_style
        if self._style is None:
            try:
                settings: Settings = load_settings(self._given)
                self._style = settings.console
            except SettingsError:  # instrument() has said so
                self._style = _DEFAULT
        return self._style

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            logger.warning("CoreVital: a run could not be printed (%s); this is told once", type(error).__name__)


def _write(text: str, out: IO[str]) -> None:
    try:
        out.write(text)
    except UnicodeEncodeError:
        encoding = getattr(out, "encoding", None) or "ascii"
        out.write(text.encode(encoding, "replace").decode(encoding))
    out.flush()
