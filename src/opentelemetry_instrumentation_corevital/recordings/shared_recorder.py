"""The recorder of a process while recordings are on: it does what the one before did, and feeds their stores."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.trace import Span

from ..config import settings_over
from ..emission.judgements import default_judgements, in_order
from ..instrumentation.flushing import providers
from ..instrumentation.instrumentor import CoreVitalInstrumentor
from ..instrumentation.patched_methods import lock, process_recorder, set_process_recorder
from ..instrumentation.recorder import Recorder
from ..instrumentation.sigterm import flush_at_sigterm, leave_sigterm, nobody_minds_sigterm
from ..policies import stop_on
from .calls_to_record import CallsToRecord
from .joined_telemetry import FallbackTracer, SeveralInstruments, SeveralLoggers
from .store_feed import StoreFeed

_OF_THE_PROCESS: Final = ("enabled", "flush_on_sigterm")


class Recorded(NamedTuple):
    """The calls of a recording, and what brings them into its store."""

    calls: CallsToRecord
    feed: StoreFeed


class SharedRecorder(Recorder):
    """Records for all recordings that are on, over the recorder that was there before.

    Args:
        base: the recorder that was there.
        instrumented: whether the process is instrumented for the recordings alone.
    """

    def __init__(self, base: Recorder, *, instrumented: bool) -> None:
        super().__init__(base.settings, base.tracer, base.instruments, base.logger, base.judgements, base.policies)
        self.base = base
        self.instrumented = instrumented
        self.refusals = base.refusals
        self.recordings: tuple[Recorded, ...] = ()
        self.minds_sigterm = False

    def close(self) -> None:
        """Leave the providers as they were."""
        self.base.close()

    def current_span(self, span: Span) -> Span:
        """Return the span that is the current one while a call with this span goes on."""
        return self.tracer.shown(span) if isinstance(self.tracer, FallbackTracer) else span

    def arrange(self, recordings: Sequence[Recorded]) -> None:
        """Record for these recordings. Of options that differ, those of the one that began last hold."""
        base, self.recordings = self.base, tuple(recordings)
        settings, given, policies = base.settings, list(base.given), list(base.given_policies)
        for each in recordings:
            settings = settings_over(settings, each.calls.settings, each.calls.options)
            given += each.calls.judgements
            policies += each.calls.policies
        feeds = list(dict.fromkeys(each.feed for each in recordings))
        self.settings = settings
        self.judgements = in_order(default_judgements(settings), given)
        self.policies = (*policies, *([stop_on(settings.stop_on)] if settings.stop_on else ()))
        self.given, self.given_policies = tuple(given), tuple(policies)
        self.tracer = FallbackTracer(base, feeds[-1].tracer_provider)
        self.logger = SeveralLoggers([base.logger, *(feed.logger for feed in feeds)])
        self.instruments = SeveralInstruments([base.instruments, *(feed.instruments for feed in feeds)])
        self.listeners = (*base.listeners, *feeds, *(each.calls for each in recordings))


def join(recording: Recorded) -> SharedRecorder | None:
    """Have the calls of the process recorded for a recording, too; instrument the process if it is not.

    Returns:
        the recorder; None where CoreVital is switched off.

    Raises:
        RuntimeError: if transformers is not installed in a version that is supported.
    """
    with lock:
        recorder = process_recorder()
        if not isinstance(recorder, SharedRecorder):
            base = recorder or _instrument(recording.calls.keywords)
            if base is None:
                return None
            recorder = SharedRecorder(base, instrumented=recorder is None)
            set_process_recorder(recorder)
        try:
            recorder.arrange((*recorder.recordings, recording))
        except BaseException:
            leave(recording, recorder)
            raise
        if recording.calls.settings.flush_on_sigterm and nobody_minds_sigterm():
            recorder.minds_sigterm |= flush_at_sigterm(lambda: providers(()))
        return recorder


def leave(recording: Recorded, recorder: SharedRecorder) -> None:
    """Record no longer for a recording; the last one that leaves has everything as it was before the first."""
    with lock:
        others = tuple(each for each in recorder.recordings if each is not recording)
        if others:
            recorder.arrange(others)
            return
        recorder.recordings = recorder.listeners = ()
        if process_recorder() is not recorder:  # somebody has uninstrumented meanwhile, and maybe instrumented anew
            return
        if recorder.minds_sigterm:
            leave_sigterm()
        set_process_recorder(recorder.base)
        if recorder.instrumented:
            CoreVitalInstrumentor().uninstrument()


def _instrument(keywords: dict[str, Any]) -> Recorder | None:
    """Instrument the process with the global providers; return None where CoreVital is switched off."""
    instrumentor = CoreVitalInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        # Other options hold for one of the recordings, and others may be on when that one is over.
        instrumentor.instrument(**{name: keywords[name] for name in _OF_THE_PROCESS if name in keywords})
        if not instrumentor.is_instrumented_by_opentelemetry:
            raise RuntimeError(
                "CoreVital: transformers is not installed in a version that is supported; nothing can be recorded: pip "
                "install 'opentelemetry-instrumentation-corevital[transformers]'"
            )
        if process_recorder() is None:
            instrumentor.uninstrument()
    return process_recorder()
