"""Which `generate()` calls are recorded.

Knows OpenTelemetry, not torch: tensors are `capture`'s, which is imported when the first call comes, since torch is
loaded by then anyway. Every step of it is shielded: whatever fails here is logged once and `generate()` goes on.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry._logs import Logger
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import ProxyTracer, ProxyTracerProvider, Span, Tracer, get_tracer, get_tracer_provider

from .. import semconv
from .._internal import generate_state
from .._internal.greenlets import PerGreenlet
from .._internal.safety import breaker_open, report_internal_error, shielded
from ..config import Settings
from ..emission.ids import restore_ids, use_system_ids
from ..emission.instruments import Instruments
from ..emission.judgements import RunJudgement
from ..policies import Policy
from ..version import __version__
from .call_context import calling_context, is_disabled
from .call_listener import CallListener
from .inner_calls import generate
from .last_runs import forget
from .policy_engine import Refusals
from .recording import Recording

logger = logging.getLogger(__name__)


BESIDE_A_GREENLET: Final = "greenlet_without_patching"
"""Why a call is not measured that runs while another greenlet of its thread generates: hooks find a call by thread."""

COMPILED: Final = "compiled"
"""Why a call is not measured whose whole loop runs under `torch.compile`: there are no hooks in its graphs."""


class Recorder:
    """Records every outermost `generate()` call of the process until it is closed."""

    def __init__(
        self,
        settings: Settings,
        tracer: Tracer,
        instruments: Instruments,
        logger: Logger,
        judgements: Sequence[RunJudgement],
        policies: Sequence[Policy] = (),
    ) -> None:
        self.settings = settings
        self.tracer = tracer
        self.instruments = instruments
        self.logger = logger
        self.judgements = judgements
        self.policies = policies
        self.refusals = Refusals()
        self.given: Sequence[RunJudgement] = ()
        """Those of the judgements that are not CoreVital's own."""
        self.given_policies: Sequence[Policy] = ()
        """Those of the policies that are not the option `stop_on`."""
        self.listeners: Sequence[CallListener] = ()
        """Get the runs and spans of each call."""
        self._nowhere_told = False
        self._greenlets_told = False

    def close(self) -> None:
        """Leave the providers as they were; runs under way are finished."""
        self.instruments.close()
        restore_ids(self.tracer)

    def generate(self, wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run `wrapped` as it is, recorded if it is to be; return and raise exactly what it does."""
        nested = alone = True
        try:
            in_generate = generate_state.thread.in_generate
            nested, alone = in_generate.get() is not None, not any(in_generate.values())
            if not nested:
                generate_state.begin(measured=alone)
                if not alone:
                    self._tell_of_greenlets()
        except Exception as error:
            report_internal_error("recorder.greenlets", error)
        if nested:
            return _unseen(wrapped, model, args, kwargs)
        with shielded("recorder.last_runs"):
            forget()
        try:
            return self._generate(wrapped, model, args, kwargs, None if alone else BESIDE_A_GREENLET)
        finally:
            try:
                generate_state.end()
            except Exception as error:
                generate_state.thread.in_generate = PerGreenlet()
                report_internal_error("recorder.greenlets", error)

    def _generate(
        self,
        wrapped: Callable[..., Any],
        model: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        unmeasured: str | None,
    ) -> Any:
        recording = None
        try:
            from ..capture.isolation.compiled_code import Compiled

            if isinstance(wrapped, Compiled):
                unmeasured = unmeasured or COMPILED
            recording = self._begin(model, args, kwargs, unmeasured)
            if recording is None or recording.session is None:
                generate_state.thread.in_generate.set(False)
        except Exception as error:
            report_internal_error("recorder.begin", error)
        if recording is None:
            return wrapped(*args, **kwargs)
        rollbacks = None
        with shielded("recorder.rollbacks"):
            rollbacks = recording.rollbacks()
        try:
            result = generate(wrapped, args, kwargs, rollbacks)
        except BaseException as error:
            _end(recording, None, error)
            raise
        _end(recording, result, None)
        return result

    def _begin(
        self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], unmeasured: str | None
    ) -> Recording | None:
        if is_disabled() or not is_instrumentation_enabled():
            return None
        if breaker_open():
            if self.policies:
                self.refusals.tell("policies", "no run is recorded for a while, after internal errors")
            return None
        from ..capture.isolation.dispatch_modes import unseen
        from ..capture.session.call_facts import Call

        call = Call(model, args, kwargs)
        parent = calling_context(call.arguments.get("streamer"))
        if is_disabled(parent):
            return None
        with shielded("capture.attach"):
            # Also for a call that is not measured: it may be the one in which a graph is compiled, and a graph whose
            # attention function changes afterwards is compiled once more.
            from ..capture.attach.attention_registry import wrap_attention_functions

            wrap_attention_functions()
        with shielded("recorder.ids"):
            self.prepare_tracer()
        with unseen():
            recording = Recording(self, call, parent, unmeasured)
        self._tell_if_nowhere(recording.span)
        try:
            recording.enter()
        except BaseException:
            recording.leave()
            raise
        return recording

    def current_span(self, span: Span) -> Span:
        """Return the span that is the current one while a call with this span goes on."""
        return span

    def prepare_tracer(self) -> None:
        """See to it that the tracer's span ids are our own; one made before the global provider knows of none."""
        if isinstance(self.tracer, ProxyTracer) and not isinstance(get_tracer_provider(), ProxyTracerProvider):
            self.tracer = get_tracer(semconv.SCOPE_NAME, __version__)
        use_system_ids(self.tracer)

    def _tell_of_greenlets(self) -> None:
        """Say once that calls are not measured because greenlets share what belongs to a thread."""
        if not self._greenlets_told and not is_disabled():
            self._greenlets_told = True
            logger.warning(
                "CoreVital: greenlets of one thread are in generate() at the same time; only one of them is measured "
                "(the others: %s). Call gevent.monkey.patch_all() before anything else is imported.",
                BESIDE_A_GREENLET,
            )

    def _tell_if_nowhere(self, span: Span) -> None:
        """Say once that nothing is exported, where nobody has set up the SDK."""
        if self._nowhere_told or self.settings.capture_unsampled or span.get_span_context().is_valid:
            return
        self._nowhere_told = True
        if isinstance(get_tracer_provider(), ProxyTracerProvider):
            logger.warning(
                "CoreVital: no OpenTelemetry SDK is set up, so no run is recorded. Under opentelemetry-instrument, "
                "install opentelemetry-distro; in code, record by opentelemetry_instrumentation_corevital.recording() "
                "or set a tracer provider."
            )


def _unseen(wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a generate() that runs inside another one; unless it does that one's work, its steps are not that run's."""
    before = None
    with shielded("recorder.nested"):
        from ..capture.attach.thread_state import report_to, thread

        if thread.call is None or not thread.call.is_delegate(model):
            before = report_to(None, None)
    try:
        return wrapped(*args, **kwargs)
    finally:
        with shielded("recorder.nested"):
            if before is not None:
                from ..capture.attach.thread_state import restore

                restore(before)


def _end(recording: Recording, result: Any, error: BaseException | None) -> None:
    from ..capture.isolation.dispatch_modes import unseen

    try:
        recording.leave()
    except Exception as internal:
        report_internal_error("recorder.leave", internal)
    try:
        with unseen():
            recording.end(result, error)
    except Exception as internal:
        report_internal_error("recorder.end", internal)
