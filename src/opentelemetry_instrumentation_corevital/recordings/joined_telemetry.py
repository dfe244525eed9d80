"""Where the telemetry of a recorded call goes: where it goes anyway, and into the stores of the recordings.

Nothing is added to the caller's providers: that of Phoenix drops its own exporter where somebody adds a processor.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry._logs import Logger, LogRecord
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, Tracer, get_current_span, use_span

from .._internal.safety import shielded
from ..emission.ids import use_system_ids
from ..emission.instruments import Instruments
from ..emission.run_data import takes_logs
from ..instrumentation.recorder import Recorder
from ..run import Run
from ..semconv import SCOPE_NAME
from ..version import __version__


class FallbackTracer(Tracer):
    """Starts the spans of a call where they are started anyway; where nobody records them, by a provider of our own.

    Args:
        base: has the tracer that starts them anyway.
        own: makes those that nobody else records.
    """

    def __init__(self, base: Recorder, own: TracerProvider) -> None:
        self._base = base
        self._own = own.get_tracer(SCOPE_NAME, __version__)
        use_system_ids(self._own)
        self._alone: WeakKeyDictionary[Span, Span | None] = WeakKeyDictionary()
        """The spans that nobody else records, and what was started in the place of each where they are started anyway;
        None: that of its call."""

    def shown(self, span: Span) -> Span:
        """Return what the program is to see in the place of a span: its sampler has to decide on spans inside of it."""
        return self._alone.get(span) or span

    def start_span(self, name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> Span:
        """Start a span, as any tracer does; that of a sequence where its call's is."""
        above, dropped = get_current_span(context), None
        if above not in self._alone:
            self._base.prepare_tracer()
            span = self._base.tracer.start_span(name, context, *args, **kwargs)
            if span.is_recording():
                return span
            dropped = span
        span = self._own.start_span(name, context, *args, **kwargs)
        self._alone[span] = dropped
        return span

    @contextmanager
    def start_as_current_span(self, name: str, *args: Any, end_on_exit: bool = True, **kwargs: Any) -> Iterator[Span]:  # type: ignore[override]
        """Start a span and make it the current one for the block."""
        with use_span(self.start_span(name, *args, **kwargs), end_on_exit=end_on_exit) as span:
            yield span


class SeveralLoggers(Logger):
    """Hands each log record to several loggers.

    Args:
        loggers: those that get it.
    """

    def __init__(self, loggers: Sequence[Logger]) -> None:
        super().__init__(SCOPE_NAME, __version__)
        self._loggers = loggers

    def emit(self, record: LogRecord | None = None, **_: Any) -> None:
        """Hand a log record on."""
        if record is None:
            return
        for each in self._loggers:
            with shielded("recordings.log_record"):
                each.emit(record)

    def enabled(self, **_: Any) -> bool:
        """Return whether one of them takes log records."""
        return any(takes_logs(each) for each in self._loggers)


class SeveralInstruments(Instruments):
    """Records in several sets of instruments what a call records in one.

    Args:
        all_of_them: those sets.
    """

    def __init__(self, all_of_them: Sequence[Instruments]) -> None:
        self._all = all_of_them

    def close(self) -> None:
        """Do nothing: each is closed by who made it."""

    def _each(self, method: str, *given: Any) -> None:
        for instruments in self._all:
            with shielded("recordings.metrics"):
                getattr(instruments, method)(*given)

    def record_call(
        self,
        start: dict[str, Any],
        seconds: float,
        tokens: tuple[int | None, int | None],
        error_type: str | None,
        context: Context,
    ) -> None:
        """Record a call's duration and its token counts."""
        self._each("record_call", start, seconds, tokens, error_type, context)

    def record_uncaptured(self, model: str, context: Context) -> None:
        """Count a call that was not measured."""
        self._each("record_uncaptured", model, context)

    def record_latency(self, start: dict[str, Any], runs: Sequence[Run], context: Context) -> None:
        """Record the time to the first token and the mean time per token after it."""
        self._each("record_latency", start, runs, context)

    def record_run(self, run: Run, context: Context) -> None:
        """Record a judged sequence."""
        self._each("record_run", run, context)

    def record_dropped(self, kind: str, count: int, context: Context) -> None:
        """Count what had to be left out."""
        self._each("record_dropped", kind, count, context)
