"""From the finished runs of a call to telemetry: judged, then onto spans, into metrics and into log events.

Every part is shielded on its own: what fails is missing, and the rest is told.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry._logs import Logger
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context

from .. import semconv
from .._internal.error_text import error_name
from .._internal.safety import shielded
from ..assessment import run_attributes as emitted
from ..assessment.verdict_attributes import call_attributes
from ..catalogue.fitting import fitting
from ..config import Settings
from ..emission import budget
from ..emission.content import (
    EXCEPTION_BYTES,
    MESSAGE_BYTES,
    TRACEBACK_BYTES,
    Messages,
    emit_content,
    openinference_values,
    shortened,
    span_attributes,
)
from ..emission.instruments import Instruments
from ..emission.judgements import RunJudgement
from ..emission.live_step_events import LiveSteps
from ..emission.run_data import pack, records, takes_logs
from ..emission.span import capture_attributes, emit_run, in_full
from ..emission.status import mark_risky
from ..emission.verdict_event import emit_verdict
from ..run import Decoding, ModelInfo, Run, StopReason
from .call_context import lasting
from .call_listener import CallListener, tell_ended
from .prompt_and_response import PromptAndResponse
from .rag import RAGContext
from .rag_attributes import rag_attributes

_process_bytes = budget.ByteBucket()


@dataclass(frozen=True, slots=True)
class CallReport:
    """What is told of one call.

    Attributes:
        settings: how much is told.
        tracer, instruments, logger: where it goes.
        judgements: what judges each run, in order.
        span: the call's span.
        context: holds that span.
        model: what generated.
        prompt_and_response: the text of the call's prompts and answers.
        start: the GenAI attributes that its span started with.
        live: what has told the steps while the call went on.
        rag: what was retrieved for the call's prompts.
        before_judging: called with each run before it is judged.
        listeners: get the span of each sequence when it has ended.
    """

    settings: Settings
    tracer: Tracer
    instruments: Instruments
    logger: Logger
    judgements: Sequence[RunJudgement]
    span: Span
    context: Context
    model: ModelInfo
    prompt_and_response: PromptAndResponse
    start: Mapping[str, Any] = field(default_factory=dict)
    live: LiveSteps | None = None
    rag: RAGContext | None = None
    before_judging: Callable[[Run], None] | None = None
    listeners: Sequence[CallListener] = ()

    def write(self, runs: Sequence[Run], error: BaseException | None) -> None:
        """Judge the runs and emit everything that is told of them."""
        with shielded("report.prompt"):
            self.prompt_and_response.give_prompts(runs)
        with shielded("report.attributes"):
            content = self.settings.content_on_span
            self.span.set_attributes(
                emitted.request_attributes(runs[0].decoding, content=content)
                | emitted.response_attributes(self.model.name, runs)
                | emitted.model_attributes(self.model)
            )
            for run in runs:
                run.absent.update(emitted.unfit_attributes(run.decoding, self.model))
        with shielded("report.rag"):
            if self.rag is not None:
                retrieved, cut = rag_attributes(self.rag, content=self.settings.content_on_span)
                self.span.set_attributes(retrieved)
                for run in runs:
                    run.absent.update(cut)
        if len(runs) == 1:
            self._run(self.span, runs[0])
        else:
            for run in runs:
                self._sequence(run)
            with shielded("report.totals"):
                self._totals(runs)
            with shielded("report.status"):
                mark_risky(self.span, runs, self.settings.status_on)
        with shielded("report.exception"):
            if error is not None:
                self._exception_event(error, max(run.end_ns for run in runs))
        with shielded("report.outcome"):
            if getattr(self.span, "dropped_attributes", 0):  # the oldest: what was set first of all
                self.span.set_attributes(emitted.outcome_attributes(runs))
                if len(runs) == 1:  # by which a store knows a run
                    self.span.set_attributes(fitting({semconv.STEPS_TOTAL: runs[0].output_tokens}))

    def write_unmeasured(
        self,
        decoding: Decoding,
        tokens: tuple[int | None, int | None],
        absent: Mapping[str, str],
        stop: StopReason | None = None,
    ) -> None:
        """Say on the span of a call that was not measured what it was, and why.

        Args:
            decoding: how it decoded.
            tokens: its tokens (input, output).
            absent: what there is not of it -> why.
            stop: what ended it, which only an exception tells of such a call; None where it returned.
        """
        self.span.set_attributes(
            emitted.request_attributes(decoding, content=self.settings.content_on_span)
            | emitted.usage_attributes(self.model.name, tokens)
            | emitted.stop_attributes(stop)
            | emitted.model_attributes(self.model)
            | capture_attributes(self.settings)
            | ({} if self.rag is None else rag_attributes(self.rag, content=False)[0])
            | {semconv.SCHEMA: semconv.SCHEMA_VERSION}
            | emitted.absent_attribute({**absent} | emitted.unfit_attributes(decoding, self.model))
        )

    def write_failure(self, error: BaseException) -> None:
        """Say that the call ended with an exception."""
        description = shortened(str(error), MESSAGE_BYTES) if self.settings.content_on_span else None
        self.span.set_status(Status(StatusCode.ERROR, description))
        self.span.set_attribute(semconv.ERROR_TYPE, error_name(error))

    def _sequence(self, run: Run) -> None:
        """Give a sequence of several a span of its own, below the call's."""
        span = self.span
        recording = span.is_recording()
        if recording:
            span = self.tracer.start_span(
                f"sequence {run.sequence_index} {self.model.name}",
                context=self.context,
                attributes=emitted.sequence_attributes(run),
                start_time=run.start_ns,
            )
        try:
            self._run(span, run)
        finally:
            if recording:
                if getattr(span, "dropped_attributes", 0):
                    span.set_attributes(emitted.sequence_attributes(run))
                span.end(run.end_ns)
                tell_ended(self.listeners, span)

    def _run(self, span: Span, run: Run) -> None:
        with shielded("report.baseline"):
            if self.before_judging is not None:
                self.before_judging(run)
        for judgement in self.judgements:
            with shielded(f"judgement {judgement.role}"):
                judgement.on_run_ending(span, run)
        instruments = self.instruments
        context = lasting(set_span_in_context(span, self.context))
        said: Messages = {}
        with shielded("report.content"):
            if span.is_recording() and self.settings.content:
                said = self.prompt_and_response.messages(run)
                if self.settings.content_in_events and said:
                    emit_content(self.logger, run, said, self._request(run), context)
        with shielded("report.verdict"):
            if span.is_recording():  # before the run data, behind which a full queue would drop it
                emit_verdict(self.logger, run, context)
        with shielded("report.run_data"):
            if span.is_recording():
                self._run_data(run, context)
        with shielded("report.span"):
            if span.is_recording():
                limit, reserved = self._span_limit(run)
                live = self._live_steps(run)
                on_span = self._messages_on_span(said)
                exception = EXCEPTION_BYTES if run.error_type and self.settings.content_on_span else 0
                reported = emit_run(span, run, self.settings, limit - exception, on_span, live=live)
                _process_bytes.give_back(reserved - reported.bytes - exception)
                instruments.record_dropped("step_event", reported.dropped_events, context)
                instruments.record_dropped("series_point", reported.dropped_points, context)
                instruments.record_dropped("message", reported.dropped_messages, context)
        with shielded("report.status"):
            mark_risky(span, [run], self.settings.status_on)
        with shielded("report.run_metrics"):
            instruments.record_run(run, context)

    def _messages_on_span(self, said: Messages) -> dict[str, str]:
        """Return what the span says of the prompt and the answer; what goes first where there is no room comes last."""
        if not self.settings.content_on_span:
            return {}
        return span_attributes(said) | (openinference_values(said) if self.settings.openinference else {})

    def _request(self, run: Run) -> dict[str, Any]:
        """Return what a log event says of the call that a run belongs to."""
        return {
            **self.start,
            **emitted.request_attributes(run.decoding, content=True),
            **emitted.response_attributes(self.model.name, [run]),
        }

    def _live_steps(self, run: Run) -> int:
        """Return how many of a run's steps were told while it went on."""
        if self.live is not None:
            return self.live.told[run.sequence_index]
        if self.settings.step_events == "logs":
            run.absent["step_events"] = "step_events=logs, but no LoggerProvider takes log events"
        return 0

    def _run_data(self, run: Run, context: Context) -> None:
        """Emit every step x signal x layer, before the span says what had to be left out."""
        logger, policy = self.logger, self.settings.run_data
        wanted = policy == "on" or (policy == "auto" and in_full(run, self.settings))
        if not wanted or not run.columns or not takes_logs(logger):
            return
        data, left_out = pack(run, content=self.settings.content)
        if left_out:
            what = "all of it" if data is None else ", ".join(left_out)
            run.absent["run_data"] = f"left out for its size: {what}"
            self.instruments.record_dropped("run_data_column", len(left_out), context)
        if data is None:
            return
        for record in records(run, data, context):
            logger.emit(record)

    def _span_limit(self, run: Run) -> tuple[int, int]:
        """Return the budget of a judged run's span in bytes and how much of the process's was reserved for it."""
        full = in_full(run, self.settings)
        limit = self.settings.max_span_bytes or (budget.SPAN_BYTES_FULL if full else budget.SPAN_BYTES_SUMMARY)
        limit = min(limit, budget.CALL_BYTES // run.sequence_count)
        if _process_bytes.take(limit, time.monotonic()):
            return limit, limit
        return min(limit, budget.SPAN_BYTES_BUSY), 0

    def _totals(self, runs: Sequence[Run]) -> None:
        """Say on the call's own span how many sequences it had and how bad the worst is."""
        totals = {
            semconv.SCHEMA: semconv.SCHEMA_VERSION,
            **capture_attributes(self.settings),
            semconv.DECODING_STRATEGY: runs[0].decoding.strategy,
            **call_attributes(runs),
        }
        self.span.set_attributes(fitting(totals))

    def _exception_event(self, error: BaseException, time_ns: int) -> None:
        """Add the exception as an event; its message and traceback may quote the prompt."""
        event = {semconv.EXCEPTION_TYPE: error_name(error)}
        if self.settings.content_on_span:
            event[semconv.EXCEPTION_MESSAGE] = shortened(str(error), MESSAGE_BYTES)
            event[semconv.EXCEPTION_STACKTRACE] = shortened("".join(traceback.format_exception(error)), TRACEBACK_BYTES)
        before = getattr(self.span, "dropped_events", 0)
        self.span.add_event(semconv.EXCEPTION_EVENT, fitting(event), time_ns)
        recorded = (getattr(self.span, "attributes", None) or {}).get(semconv.STEPS_RECORDED)
        if recorded and getattr(self.span, "dropped_events", 0) > before:  # it took a step's place
            self.span.set_attribute(semconv.STEPS_RECORDED, recorded - 1)
