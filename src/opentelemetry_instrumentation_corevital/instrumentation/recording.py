"""The recording of one `generate()` call, from its span's start to its end."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry._logs import Logger
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from .. import semconv
from .._internal.clock import Clock
from .._internal.error_text import error_name
from .._internal.layer_selection import LayerSelection
from .._internal.safety import shielded
from ..assessment import run_attributes as emitted
from ..config import Settings
from ..emission.ids import system_random
from ..emission.instruments import Instruments, call_tokens
from ..emission.judgements import ENLISTED_KEY, Profiled, RunJudgement, in_order, judges_steps
from ..emission.live_step_events import LiveSteps
from ..emission.run_data import takes_logs
from ..policies import Policy, RollBack
from ..run import ModelInfo, Run, StopReason
from .call_context import PromptHint, current_hint, current_rag, forget_values, lasting
from .call_listener import CallListener, tell_ended, tell_judged
from .inner_calls import Rollbacks
from .last_runs import remember
from .live_call import LiveCall
from .live_consumer import current_consumer
from .policy_engine import Refusals
from .prompt_and_response import PromptAndResponse, told_tokenizer
from .prompt_memory import recent_prompts
from .reporting import CallReport

if TYPE_CHECKING:
    from ..capture.session.call_facts import Call
    from ..capture.session.session import Session


def chosen(trace_id: int, ratio: float) -> bool:
    """Whether a call is in the fraction that is measured: by its trace id, so that a trace's calls are so together.

    The rule of OpenTelemetry's `TraceIdRatioBased` sampler; without a trace id a number from the system stands in.
    """
    if ratio >= 1.0:
        return True
    number = trace_id & (2**64 - 1) if trace_id else system_random.getrandbits(64)
    return number < round(ratio * 2**64)


def _hint(call: "Call", context: Context) -> PromptHint:
    """Return what is known of a call's prompt: told by its caller, else remembered by the tokens that it got."""
    hint = current_hint(context)
    if hint.text is None and len(recent_prompts):
        with shielded("recorder.prompt"):
            told = told_tokenizer(hint, call)
            name = str(getattr(getattr(call.model, "config", None), "_name_or_path", None) or "")
            known = recent_prompts.find(call.prompt_tokens() or (), model=name, tokenizer=told, pad=call.pad_token())
            return replace(
                hint,
                text=known.text,
                chat=hint.chat or known.chat,
                tokenizer=known.tokenizer if told is None else told,
            )
    return hint


class Wiring(Protocol):
    """What a recorder is made of, see `Recorder`."""

    settings: Settings
    tracer: Tracer
    instruments: Instruments
    logger: Logger
    judgements: Sequence[RunJudgement]
    policies: Sequence[Policy]
    refusals: Refusals
    listeners: Sequence[CallListener]

    def current_span(self, span: Span) -> Span:
        """Return the span that is the current one while a call with this span goes on."""
        ...


class Recording:
    """One call, from its span's start to its end."""

    def __init__(self, recorder: Wiring, call: "Call", parent: Context, unmeasured: str | None) -> None:
        from ..capture.model.description import describe_model

        self.recorder = recorder
        self.listeners = recorder.listeners
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
        self.prompt_and_response = PromptAndResponse(self.settings, self.hint, self.call)
        judgements = in_order(recorder.judgements, enlisted)
        self.live = self._live_call(judges_steps(judgements))
        self._refuse_policies()
        if self.consumer is not None:
            call.is_cancelled = self.consumer.is_cancelled
        self.session = self._session(call.model) if self.captured else None
        self.report = CallReport(
            settings=self.settings,
            tracer=recorder.tracer,
            instruments=recorder.instruments,
            logger=recorder.logger,
            judgements=judgements,
            span=self.span,
            context=self.context,
            model=self.model,
            prompt_and_response=self.prompt_and_response,
            start=self.start,
            live=None if self.live is None else self.live.steps,
            before_judging=None if self.live is None else self.live.keep_baseline,
            rag=current_rag(parent),
            listeners=self.listeners,
        )
        self._token: Any = None
        self._before: Any = None

    def _session(self, model: Any) -> "Session":
        from ..capture.attach.module_hooks import attach
        from ..capture.collector.collector import CollectorOptions, StepCollector
        from ..capture.session.prompts_of_call import reader_of
        from ..capture.session.session import Session

        collector, prompts, kernels = None, self.settings.prompt_analysis, self.settings.kernels == "auto"
        with shielded("capture.attach"):
            options = CollectorOptions(
                self.settings.attention_steps, LayerSelection(self.settings.layers), self.settings.alternatives
            )
            anatomy, reader = attach(model, prompts=prompts != "off"), None
            if prompts != "off":
                reader = reader_of(self.call, anatomy, options.layers, full=prompts == "full", kernels=kernels)
            collector = StepCollector(model, anatomy, options, reader)
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

    def _live_call(self, judge: Profiled | None) -> LiveCall | None:
        """Return what follows the call while it goes on; None where nobody wants that."""
        policies, steps = self.recorder.policies, self._live_steps()
        if not self.captured or (self.consumer is None and not policies and steps is None):
            return None
        return LiveCall(
            self.settings,
            self.consumer,
            policies,
            steps,
            basis=None if judge is None else partial(judge.while_it_goes_on, self.model),
            limit=self.call.max_new_tokens,
            prompts=self.call.prompt_tokens,
            refusals=self.recorder.refusals,
        )

    def _refuse_policies(self) -> None:
        """Say at once where no policy can act on the call."""
        may_stop = self.consumer is not None and self.consumer.may_stop
        if self.live is None and self.unmeasured is not None and (self.recorder.policies or may_stop):
            self.recorder.refusals.tell("policies", f"the call is not measured: {self.unmeasured}")
        elif self.live is not None and self.call.paged:
            self.live.refuse("not measured in continuous batching (cache_implementation=paged)")
        elif self.live is not None and self.call.custom:
            self.live.refuse("policies do not act on a custom loop")

    def _live_steps(self) -> LiveSteps | None:
        """Return what emits the steps as log events, if that is wanted and somebody takes them."""
        if not (self.captured and self.settings.step_events == "logs" and self.span.is_recording()):
            return None
        logger = self.recorder.logger
        if not takes_logs(logger):
            return None
        return LiveSteps(logger, lasting(self.context), self.settings, self.prompt_and_response.pieces())

    def rollbacks(self) -> Rollbacks | None:
        """Return what has tokens of the call taken back; None where nobody may ask for that."""
        live = self.live
        if live is None or live.engine is None or self.session is None or not live.engine.has(RollBack):
            return None
        return Rollbacks(live.engine, self.session)

    def enter(self) -> None:
        """Make the span current and let the thread's hooks report to this call."""
        from ..capture.attach.thread_state import report_to

        current = self.recorder.current_span(self.span)
        context = self.context if current is self.span else set_span_in_context(current, self.context)
        self._token = otel_context.attach(context)
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
            with shielded("recorder.last_runs"):
                remember(runs)
                tell_judged(self.listeners, runs)
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
                tell_ended(self.listeners, self.span)
            finally:
                self._release()

    def _write_unmeasured(self, result: Any, stop: StopReason | None) -> None:
        decoding, tokens = self.call.decoding(self.hint.seed), self.call.usage(result)
        reason = self.unmeasured or "not measured"
        absent = {"run": reason}
        if self.recorder.policies:
            absent["interventions"] = f"the call is not measured: {reason}"
        self.report.write_unmeasured(decoding, tokens, absent, stop)

    def _release(self) -> None:
        """Refer to nothing of the call any more: the traceback of an exception that its caller keeps refers to us."""
        with shielded("recorder.release"):
            forget_values(self.call.arguments.get("streamer"))
        self.call.release()
        if self.live is not None:
            self.live.release()
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
