"""One `generate()` call: which are recorded, and their life from the span's start to its end.

Knows OpenTelemetry, not torch: tensors are `capture`'s, which is imported when the first call comes, since torch is
loaded by then anyway. Every step of it is shielded: whatever fails here is logged once and `generate()` goes on.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry._logs import Logger
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import (
    ProxyTracer,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Tracer,
    get_tracer,
    get_tracer_provider,
    set_span_in_context,
)

from .. import semconv
from .._internal import generate_state
from .._internal.clock import Clock
from .._internal.error_text import error_name
from .._internal.greenlets import PerGreenlet
from .._internal.layer_selection import LayerSelection
from .._internal.safety import breaker_open, report_internal_error, shielded
from ..config import Settings
from ..emission import run_attributes as emitted
from ..emission.ids import restore_ids, system_random, use_system_ids
from ..emission.instruments import Instruments, call_tokens
from ..emission.judgements import ENLISTED_KEY, RunJudgement, in_order
from ..emission.live_step_events import LiveSteps
from ..emission.run_data import takes_logs
from ..policies import Policy
from ..run import ModelInfo, Run, StopReason
from ..version import __version__
from .call_context import (
    PromptHint,
    calling_context,
    current_hint,
    current_rag,
    forget_values,
    is_disabled,
    lasting,
)
from .chat_memory import recent_chats
from .live_call import LiveCall
from .live_consumer import current_consumer
from .prompt_and_response import PromptAndResponse
from .reporting import CallReport

if TYPE_CHECKING:
    from ..capture.session.call_facts import Call
    from ..capture.session.session import Session

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
        self.given: Sequence[RunJudgement] = ()
        """Those of the judgements that are not CoreVital's own."""
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
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            _end(recording, None, error)
            raise
        _end(recording, result, None)
        return result

    def _begin(
        self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], unmeasured: str | None
    ) -> "_Recording | None":
        if is_disabled() or breaker_open() or not is_instrumentation_enabled():
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
            self._prepare_tracer()
        with unseen():
            recording = _Recording(self, call, parent, unmeasured)
        self._tell_if_nowhere(recording.span)
        try:
            recording.enter()
        except BaseException:
            recording.leave()
            raise
        return recording

    def _prepare_tracer(self) -> None:
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
                "install opentelemetry-distro; in code, set a tracer provider."
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


def _end(recording: "_Recording", result: Any, error: BaseException | None) -> None:
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


def chosen(trace_id: int, ratio: float) -> bool:
    """Whether a call is in the fraction that is measured: by its trace id, so that a trace's calls are so together.

    The rule of OpenTelemetry's `TraceIdRatioBased` sampler; without a trace id a number from the system stands in.
    """
    if ratio >= 1.0:
        return True
    number = trace_id & (2**64 - 1) if trace_id else system_random.getrandbits(64)
    return number < round(ratio * 2**64)


def _hint(call: "Call", context: Context) -> PromptHint:
    """Return what is known of a call's prompt: told by its caller, else as the chat whose tokens it got."""
    hint = current_hint(context)
    if hint.text is None and len(recent_chats):
        with shielded("recorder.chat"):
            tokens = call.prompt_tokens()
            chat = recent_chats.find(tokens) if tokens else None
            if chat is not None:
                return replace(hint, text=chat.text, chat=True, tokenizer=hint.tokenizer or chat.tokenizer)
    return hint


class _Recording:
    """One call, from its span's start to its end."""

    def __init__(self, recorder: Recorder, call: "Call", parent: Context, unmeasured: str | None) -> None:
        from ..capture.model.description import describe_model

        self.recorder = recorder
        self.settings = recorder.settings
        self.clock = Clock()
        self.start_ns = self.end_ns = self.clock.now()
        self.call = call
        self.hint = _hint(call, parent)
        self.model: ModelInfo = describe_model(call.model)
        self.start = emitted.start_attributes(self.model.name, chat=self.hint.chat)
        enlisted: list[RunJudgement] = []
        self.span: Span = recorder.tracer.start_span(
            " ".join((self.start[semconv.GEN_AI_OPERATION_NAME], self.model.name)),
            context=otel_context.set_value(ENLISTED_KEY, enlisted, parent),
            kind=SpanKind.INTERNAL,
            attributes=self.start,
            start_time=self.start_ns,
        )
        self.context: Context = set_span_in_context(self.span, parent)
        self.consumer = current_consumer(parent)
        watched = self.consumer is not None or bool(recorder.policies)
        wanted = watched or self.span.is_recording() or self.settings.capture_unsampled
        trace_id = self.span.get_span_context().trace_id
        if unmeasured is None and not watched and not chosen(trace_id, self.settings.capture_ratio):
            unmeasured = f"not chosen by capture_ratio={self.settings.capture_ratio:g}"
        self.unmeasured = unmeasured
        """Why this call is not measured, though it is recorded."""
        self.captured = wanted and unmeasured is None
        self.live = self._live_call()
        if self.consumer is not None:
            call.is_cancelled = self.consumer.is_cancelled
        self.session = self._session(call.model) if self.captured else None
        self.report = CallReport(
            settings=self.settings,
            tracer=recorder.tracer,
            instruments=recorder.instruments,
            logger=recorder.logger,
            judgements=in_order(recorder.judgements, enlisted),
            span=self.span,
            context=self.context,
            model=self.model,
            prompt_and_response=PromptAndResponse(self.settings, self.hint, self.call),
            start=self.start,
            live=None if self.live is None else self.live.steps,
            rag=current_rag(parent),
        )
        self._token: Any = None
        self._before: Any = None

    def _session(self, model: Any) -> "Session":
        from ..capture.attach.module_hooks import attach
        from ..capture.collector.collector import CollectorOptions, StepCollector
        from ..capture.session.session import Session

        collector = None
        with shielded("capture.attach"):
            options = CollectorOptions(self.settings.attention_steps, LayerSelection(self.settings.layers))
            collector = StepCollector(model, attach(model), options)
        kernels = self.settings.kernels == "auto"
        steering = self.live if self.live is not None and self.live.engine is not None else None
        return Session(
            self.call,
            self.model,
            self.clock,
            self.start_ns,
            collector,
            kernels=kernels,
            follower=self.live,
            steering=steering,
        )

    def _live_call(self) -> LiveCall | None:
        """Return what follows the call while it goes on; None where nobody wants that."""
        policies, steps = self.recorder.policies, self._live_steps()
        if not self.captured or (self.consumer is None and not policies and steps is None):
            return None
        limit, prompts = self.call.max_new_tokens, self.call.prompt_tokens
        return LiveCall(self.settings, self.consumer, policies, steps, limit, prompts)

    def _live_steps(self) -> LiveSteps | None:
        """Return what emits the steps as log events, if that is wanted and somebody takes them."""
        if not (self.captured and self.settings.step_events == "logs" and self.span.is_recording()):
            return None
        logger = self.recorder.logger
        return LiveSteps(logger, lasting(self.context), self.settings) if takes_logs(logger) else None

    def enter(self) -> None:
        """Make the span current and let the thread's hooks report to this call."""
        from ..capture.attach.thread_state import report_to

        self._token = otel_context.attach(self.context)
        self._before = report_to(self.call, self.session)

    def leave(self) -> None:
        """Undo `enter`, however far it came; the call ends here."""
        from ..capture.attach.thread_state import restore

        with shielded("recorder.clock"):
            self.end_ns = self.clock.now()
        before, self._before = self._before, None
        token, self._token = self._token, None
        with shielded("recorder.leave"):
            if before is not None:
                restore(before)
        with shielded("recorder.leave"):
            if token is not None:
                otel_context.detach(token)

    def end(self, result: Any, error: BaseException | None) -> None:
        """Judge what was generated and end the span at the time at which generate() ended."""
        runs: list[Run] = []
        stop: StopReason | None = None
        try:
            with shielded("recorder.stop"):
                stop = None if error is None else self.call.reason_of(error)
            failure = None if stop == "cancelled" else error
            with shielded("recorder.close"):
                if self.session is not None:
                    runs = self.session.close(result, error, self.hint.seed)
            with shielded("recorder.interventions"):
                if self.live is not None:
                    self.live.report(runs)
            with shielded("recorder.error"):
                if failure is not None:
                    self.report.write_failure(failure)
            with shielded("recorder.runs"):
                if runs:
                    self.report.write(runs, failure)
            with shielded("recorder.consumer"):
                if self.consumer is not None and self.consumer.finished is not None:
                    self.consumer.finished(runs, self.span.get_span_context())
            with shielded("recorder.unmeasured"):
                if self.session is None and self.span.is_recording():
                    self._write_unmeasured(result, stop)
            with shielded("recorder.metrics"):
                self._metrics(runs, result, failure, (self.end_ns - self.start_ns) / 1e9)
            with shielded("recorder.required"):
                # The SDK drops the oldest attributes beyond its limit: these must be the newest.
                self.span.set_attributes(self.start)
        finally:
            try:
                self.span.end(self.end_ns)
            finally:
                self._release()

    def _write_unmeasured(self, result: Any, stop: StopReason | None) -> None:
        decoding, tokens = self.call.decoding(self.hint.seed), self.call.usage(result)
        self.report.write_unmeasured(decoding, tokens, self.unmeasured or "not measured", stop)

    def _release(self) -> None:
        """Refer to nothing of the call any more: the traceback of an exception that its caller keeps refers to us."""
        with shielded("recorder.release"):
            forget_values(self.call.arguments.get("streamer"))
        self.call.release()
        if self.session is not None:
            self.session.release()

    def _metrics(self, runs: Sequence[Run], result: Any, error: BaseException | None, seconds: float) -> None:
        instruments = self.recorder.instruments
        if self.captured:
            tokens = call_tokens(runs) if runs else (None, None)
            if runs:
                instruments.record_latency(self.start, runs, self.context)
        else:
            tokens = self.call.usage(result)
            instruments.record_uncaptured(self.model.name, self.context)
        instruments.record_call(self.start, seconds, tokens, None if error is None else error_name(error), self.context)
