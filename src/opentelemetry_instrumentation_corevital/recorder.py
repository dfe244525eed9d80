"""One `generate()` call: its span, its judgements, its metrics and logs.

Knows OpenTelemetry, not torch: tensors are `capture`'s, which is imported when the first call comes, since torch is
loaded by then anyway. Every step of it is shielded: whatever fails here is logged once and `generate()` goes on.
"""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry._logs import Logger
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import (
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_tracer_provider,
    set_span_in_context,
)

from . import semconv
from .call_context import current_hint, is_disabled
from .config import Settings
from .emission import attributes as emitted
from .emission import budget
from .emission.content import message_attributes
from .emission.metrics import Instruments, call_tokens
from .emission.run_data import pack, records, takes_logs
from .emission.span import capture_attributes, emit_run, in_full
from .emission.verdict import emit_verdict
from .layer_selection import LayerSelection
from .processors import ENLISTED_KEY, RunJudgement, in_order
from .run import ModelInfo, Prompt, Run
from .safety import breaker_open, report_internal_error, shielded

if TYPE_CHECKING:
    from .capture.session import Session

logger = logging.getLogger(__name__)


class _Thread(threading.local):
    inside = False


_thread = _Thread()
_random = random.Random()  # never the process-wide generator: a run may draw from that
_process_bytes = budget.ByteBucket()


class Recorder:
    """Records every outermost `generate()` call of the process until it is closed."""

    def __init__(
        self,
        settings: Settings,
        tracer: Tracer,
        instruments: Instruments,
        logger: Logger,
        judgements: Sequence[RunJudgement],
    ) -> None:
        self.settings = settings
        self.tracer = tracer
        self.instruments = instruments
        self.logger = logger
        self.judgements = judgements
        self._nowhere_told = False

    def generate(self, wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run `wrapped` as it is, recorded if it is to be; return and raise exactly what it does."""
        if _thread.inside:
            return _unseen(wrapped, args, kwargs)
        _thread.inside = True
        try:
            return self._generate(wrapped, model, args, kwargs)
        finally:
            _thread.inside = False

    def _generate(self, wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        recording = None
        try:
            recording = self._begin(model, args, kwargs)
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

    def _begin(self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> "_Recording | None":
        if is_disabled() or breaker_open() or not is_instrumentation_enabled():
            return None
        with shielded("capture.attach"):
            # Also for a call that is not measured: it may be the one in which a graph is compiled, and a graph whose
            # attention function changes afterwards is compiled once more.
            from .capture.registry import wrap_attention_functions

            wrap_attention_functions()
        recording = _Recording(self, model, args, kwargs)
        self._tell_if_nowhere(recording.span)
        try:
            recording.enter()
        except BaseException:
            recording.leave()
            raise
        return recording

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


def _unseen(wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a generate() that runs inside another one; its steps are not the outer run's."""
    before = None
    with shielded("recorder.nested"):
        from .capture.listening import listen

        before = listen(None, None)
    try:
        return wrapped(*args, **kwargs)
    finally:
        with shielded("recorder.nested"):
            if before is not None:
                from .capture.listening import restore

                restore(before)


def _end(recording: "_Recording", result: Any, error: BaseException | None) -> None:
    end_ns = time.time_ns()
    try:
        recording.leave()
    except Exception as internal:
        report_internal_error("recorder.leave", internal)
    try:
        recording.end(result, error, end_ns)
    except Exception as internal:
        report_internal_error("recorder.end", internal)


def chosen(trace_id: int, ratio: float) -> bool:
    """Whether a call is in the share that is measured: by its trace id, so that a trace's calls are so together.

    The rule of OpenTelemetry's `TraceIdRatioBased` sampler; without a trace id a number of our own generator stands in.
    """
    if ratio >= 1.0:
        return True
    number = trace_id & (2**64 - 1) if trace_id else _random.getrandbits(64)
    return number < round(ratio * 2**64)


class _Recording:
    """One call, from its span's start to its end."""

    def __init__(self, recorder: Recorder, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        from .capture.call import Call
        from .capture.model import describe_model

        self.recorder = recorder
        self.settings = recorder.settings
        self.start_ns = time.time_ns()
        self.hint = current_hint()
        self.model: ModelInfo = describe_model(model)
        self.start = emitted.start_attributes(self.model.name, chat=self.hint.chat)
        enlisted: list[RunJudgement] = []
        parent = otel_context.get_current()
        self.span: Span = recorder.tracer.start_span(
            " ".join((self.start[semconv.GEN_AI_OPERATION_NAME], self.model.name)),
            context=otel_context.set_value(ENLISTED_KEY, enlisted, parent),
            kind=SpanKind.INTERNAL,
            attributes=self.start,
            start_time=self.start_ns,
        )
        self.context: Context = set_span_in_context(self.span, parent)
        self.judgements = in_order(recorder.judgements, enlisted)
        wanted = self.span.is_recording() or self.settings.capture_unsampled
        self.captured = wanted and chosen(self.span.get_span_context().trace_id, self.settings.capture_ratio)
        self.call = Call(model, args, kwargs)
        self.session = self._session(model) if self.captured else None
        self._token: Any = None
        self._before: Any = None

    def _session(self, model: Any) -> "Session":
        from .capture.hooks import attach
        from .capture.inside import Inside, Options
        from .capture.session import Session

        inside = None
        with shielded("capture.attach"):
            options = Options(self.settings.attention_steps, LayerSelection(self.settings.layers))
            inside = Inside(model, attach(model), options)
        return Session(self.call, self.model, self.start_ns, inside)

    def enter(self) -> None:
        """Make the span current and let the thread's taps report to this call."""
        from .capture.listening import listen

        self._token = otel_context.attach(self.context)
        self._before = listen(self.call, self.session)

    def leave(self) -> None:
        """Undo `enter`, however far it came."""
        from .capture.listening import restore

        before, self._before = self._before, None
        token, self._token = self._token, None
        with shielded("recorder.leave"):
            if before is not None:
                restore(before)
        with shielded("recorder.leave"):
            if token is not None:
                otel_context.detach(token)

    def end(self, result: Any, error: BaseException | None, end_ns: int) -> None:
        """Judge what was generated and end the span at the time at which generate() ended."""
        runs: list[Run] = []
        try:
            with shielded("recorder.close"):
                if self.session is not None:
                    runs = self.session.close(result, error, self.hint.seed)
            with shielded("recorder.error"):
                if error is not None:
                    self._failed(error)
            with shielded("recorder.runs"):
                if runs:
                    self._runs(runs, error)
            with shielded("recorder.unmeasured"):
                if self.session is None and self.span.is_recording():
                    self._unmeasured(result)
            with shielded("recorder.metrics"):
                self._metrics(runs, result, error, (end_ns - self.start_ns) / 1e9)
            with shielded("recorder.required"):
                # The SDK drops the oldest attributes beyond its limit: these must be the newest.
                self.span.set_attributes(self.start)
        finally:
            self.span.end(end_ns)

    # --- sequences -------------------------------------------------------------------------------------------------

    def _runs(self, runs: Sequence[Run], error: BaseException | None) -> None:
        with shielded("recorder.prompt"):
            self._prompts(runs)
        with shielded("recorder.attributes"):
            content = self.settings.content_on_span
            self.span.set_attributes(
                emitted.request_attributes(runs[0].decoding, content=content)
                | emitted.response_attributes(self.model.name, runs)
                | emitted.model_attributes(self.model)
            )
        if len(runs) == 1:
            self._run(self.span, runs[0])
        else:
            for run in runs:
                self._sequence(run)
            with shielded("recorder.totals"):
                self._totals(runs)
        with shielded("recorder.exception"):
            if error is not None:
                self._exception_event(error)

    def _unmeasured(self, result: Any) -> None:
        """Say on the span of a call that was not chosen to be measured what it was, and that."""
        self.span.set_attributes(
            emitted.request_attributes(self.call.decoding(self.hint.seed), content=self.settings.content_on_span)
            | emitted.usage_attributes(self.model.name, self.call.usage(result))
            | emitted.model_attributes(self.model)
            | capture_attributes(self.settings)
            | {semconv.SCHEMA: semconv.SCHEMA_VERSION}
            | emitted.absent_attribute({"run": f"not chosen by capture_ratio={self.settings.capture_ratio:g}"})
        )

    def _sequence(self, run: Run) -> None:
        """Give a sequence of several a span of its own, below the call's."""
        span = self.span
        recording = span.is_recording()
        if recording:
            span = self.recorder.tracer.start_span(
                f"sequence {run.sequence_index} {self.model.name}",
                context=self.context,
                attributes=emitted.sequence_attributes(run),
                start_time=run.start_ns,
            )
        try:
            self._run(span, run)
        finally:
            if recording:
                span.end(run.end_ns)

    def _run(self, span: Span, run: Run) -> None:
        for judgement in self.judgements:
            with shielded(f"judgement {judgement.role}"):
                judgement.on_run_ending(span, run)
        instruments = self.recorder.instruments
        context = set_span_in_context(span, self.context)
        with shielded("recorder.verdict"):
            if span.is_recording():  # before the run data, behind which a full queue would drop it
                emit_verdict(self.recorder.logger, run, context)
        with shielded("recorder.run_data"):
            if span.is_recording():
                self._run_data(run, context)
        with shielded("recorder.span"):
            if span.is_recording():
                limit, reserved = self._span_limit(run.sequence_count)
                reported = emit_run(span, run, self.settings, limit, self._messages(run))
                _process_bytes.give_back(reserved - reported.bytes)
                instruments.record_dropped("step_event", reported.dropped_events, context)
                instruments.record_dropped("series_point", reported.dropped_points, context)
                instruments.record_dropped("message", reported.dropped_messages, context)
        with shielded("recorder.run_metrics"):
            instruments.record_run(run, context)

    def _run_data(self, run: Run, context: Context) -> None:
        """Emit every step x signal x layer, before the span says what had to be left out."""
        logger, policy = self.recorder.logger, self.settings.run_data
        wanted = policy == "on" or (policy == "auto" and in_full(run, self.settings))
        if not wanted or not run.columns or not takes_logs(logger):
            return
        data, left_out = pack(run, content=self.settings.content_on_span)
        if left_out:
            what = "all of it" if data is None else ", ".join(left_out)
            run.absent["run_data"] = f"left out for its size: {what}"
            self.recorder.instruments.record_dropped("run_data_column", len(left_out), context)
        if data is None:
            return
        for record in records(run, data, context):
            logger.emit(record)

    def _span_limit(self, spans: int) -> tuple[int, int]:
        """Return a span's budget in bytes and how much of the process's was reserved for it."""
        full = self.settings.capture == "full"
        limit = self.settings.max_span_bytes or (budget.SPAN_BYTES_FULL if full else budget.SPAN_BYTES_SUMMARY)
        limit = min(limit, budget.CALL_BYTES // spans)
        if _process_bytes.take(limit, time.monotonic()):
            return limit, limit
        return min(limit, budget.SPAN_BYTES_BUSY), 0

    def _totals(self, runs: Sequence[Run]) -> None:
        """Say on the call's own span how many sequences it had and how bad the worst is."""
        risks = [run.risk for run in runs if run.risk is not None]
        worst = max(risks, key=lambda risk: risk.score, default=None)
        totals: dict[str, Any] = {
            semconv.SCHEMA: semconv.SCHEMA_VERSION,
            **capture_attributes(self.settings),
            semconv.DECODING_STRATEGY: runs[0].decoding.strategy,
            semconv.SEQUENCE_COUNT: len(runs),
        }
        if worst is not None:
            totals |= {semconv.RISK_SCORE: worst.score, semconv.RISK_LEVEL: worst.level}
        self.span.set_attributes(emitted.present(totals))

    # --- prompt and content ----------------------------------------------------------------------------------------

    def _prompts(self, runs: Sequence[Run]) -> None:
        """Give the runs their prompts' text: as the caller told it, else decoded, else not at all."""
        if self.settings.prompt_hash == "off" and not self.settings.content_on_span:
            return
        if self.hint.text is not None:
            for run in runs:
                run.prompt = Prompt(self.hint.text, "text", self.hint.chat)
            return
        tokenizer, prompts = self._tokenizer(), None
        if tokenizer is not None:
            prompts = self.call.prompt_tokens()
        if prompts is None or len(runs) % len(prompts):
            return
        texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in prompts]
        for run in runs:
            run.prompt = Prompt(texts[run.sequence_index * len(texts) // len(runs)], "decoded", self.hint.chat)

    def _messages(self, run: Run) -> dict[str, Any]:
        if not self.settings.content_on_span:
            return {}
        tokenizer = self._tokenizer()
        if tokenizer is None:
            run.absent[semconv.GEN_AI_OUTPUT_MESSAGES] = "no tokenizer is known"
        answer = None if tokenizer is None else tokenizer.decode(run.tokens.tolist(), skip_special_tokens=True)
        return message_attributes(run, answer)

    def _tokenizer(self) -> Any:
        for owner in (self.hint.tokenizer, self.call.arguments.get("tokenizer")):
            if owner is not None:
                return owner
        return getattr(self.call.arguments.get("streamer"), "tokenizer", None)

    # --- errors and metrics ----------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        from .capture.session import error_name

        description = str(error) if self.settings.content_on_span else None
        self.span.set_status(Status(StatusCode.ERROR, description))
        self.span.set_attribute(semconv.ERROR_TYPE, error_name(error))

    def _exception_event(self, error: BaseException) -> None:
        """Add the exception as an event; its message and traceback may quote the prompt."""
        from .capture.session import error_name

        event = {semconv.EXCEPTION_TYPE: error_name(error)}
        if self.settings.content_on_span:
            event[semconv.EXCEPTION_MESSAGE] = str(error)
            event[semconv.EXCEPTION_STACKTRACE] = "".join(traceback.format_exception(error))
        self.span.add_event(semconv.EXCEPTION_EVENT, event)

    def _metrics(self, runs: Sequence[Run], result: Any, error: BaseException | None, seconds: float) -> None:
        from .capture.session import error_name

        instruments = self.recorder.instruments
        if self.captured:
            tokens = call_tokens(runs) if runs else (None, None)
            if runs:
                instruments.record_latency(self.start, runs, self.context)
        else:
            tokens = self.call.usage(result)
            instruments.record_uncaptured(self.model.name, self.context)
        instruments.record_call(self.start, seconds, tokens, None if error is None else error_name(error), self.context)
