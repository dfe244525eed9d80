"""`CoreVitalMonitor`: generates with a model and watches it, for programs that act while it goes on."""

import importlib.util
import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, overload

from opentelemetry.trace import SpanContext

from ..assessment.step_event import StepEvent
from ..config import CaptureMode
from ..instrumentation.call_context import is_disabled
from ..instrumentation.rag_attributes import rag_attributes
from ..policies import Policy, Trigger
from .job import Job, Retrieved, as_rag_context, retrieved
from .loaded_models import LoadedModels, check_model
from .monitor_options import (
    CAPTURE_MODE,
    INTERVENE_ON_SIGNALS,
    RISK_THRESHOLD,
    MonitorOptions,
    check_buffer,
    check_callback,
    check_flag,
    check_signals,
    check_store,
    check_tokenizer,
    monitor_options,
)
from .monitor_store import MonitorStore
from .prompts import check_prompt
from .readings import Readings
from .retry import Retries
from .should_intervene import OnIntervene, intervene_on
from .step_queue import Overflow, StepQueue
from .stream import Stream, WrappedGeneration
from .telemetry import Telemetry
from .watched_block import WatchedBlock
from .watched_call import StepCallback, WatchedCall, WatchRules

logger = logging.getLogger(__name__)

_INPUTS: Final = ("inputs", "input_ids", "inputs_embeds", "input_features", "pixel_values")
_NEEDED: Final = ("torch", "transformers")
_S = TypeVar("_S", bound=Stream)


class CoreVitalMonitor(Readings):
    """Generates with a model, watches the run while it goes on, and knows its verdict afterwards.

        from opentelemetry_instrumentation_corevital import CoreVitalMonitor
        from opentelemetry_instrumentation_corevital.policies import Stop

        monitor = CoreVitalMonitor(policies=[Stop(on="repetition_loop")])
        monitor.run("smollm2", "Once upon a time", max_new_tokens=100)
        print(monitor.get_risk_score(), monitor.get_summary()["narrative"])

        for step in monitor.stream("smollm2", "Once upon a time", max_new_tokens=100):
            print(step.token_text, end="")
            if monitor.should_intervene():
                break

    It needs neither a tracer provider nor the instrumentor. Where the process is instrumented, a run has one span, made
    by the instrumentor's providers and judged by the judgements given to it; its policies act, too, after the
    monitor's. Where only global providers are set, telemetry goes there. Other generate() calls of the process stay
    as they are.

    Many threads and tasks may use one monitor at the same time. `get_risk_so_far()`, `get_warning_signals()`,
    `should_intervene()` and `intervention()` are of the call that began last, the other `get_*` and `runs` of the call
    that finished last; a stream or a block answers the same questions of its own call.

    Args:
        capture_mode: how much is reported of a run: `summary`, `full` or `on_risk`; the option `capture`.
        risk_threshold: `on_risk` reports in full from this risk on.
        enable_early_warning: False: no early warning is made; events and summaries have none then.
        intervene_on_risk_above: `should_intervene()` is true from this risk on, in [0, 1]; None: the risk has no part
            in it.
        intervene_on_signals: names of early warnings or health flags of which one makes `should_intervene()` true.
        policies: what may act on a run (`opentelemetry_instrumentation_corevital.policies`). `Retry` acts in `run()`
            alone, and on calls of one sequence.
        on_step_callback: gets each step's event before it is yielded, on the thread that generates, which waits for
            it. Where it returns `"stop"`, the sequence ends one step later.
        on_intervene: gets step and reason, once in a run, when `should_intervene()` becomes true.
        store: a file (SQLite) that runs are written into; None: nothing is stored.
        settings: options of `Settings`. One that is not given is that of the instrumentor, else of its environment
            variable.

    Raises:
        ImportError: if torch or transformers is not installed.
        SettingsError: for an option that there is not, a bad value, or two that do not go together.
        PolicyError: for what is no policy, or no condition.
        StoreError: if nothing can be stored there.
    """

    def __init__(
        self,
        capture_mode: CaptureMode = CAPTURE_MODE,  # type: ignore[assignment]
        risk_threshold: float = RISK_THRESHOLD,
        enable_early_warning: bool = True,
        intervene_on_risk_above: float | None = 0.8,
        intervene_on_signals: Trigger | Sequence[Trigger] = INTERVENE_ON_SIGNALS,
        policies: Sequence[Policy] = (),
        on_step_callback: StepCallback | None = None,
        on_intervene: OnIntervene | None = None,
        store: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        _check_installed()
        given = dict(settings)
        if capture_mode is not CAPTURE_MODE:
            given["capture_mode"] = capture_mode
        if risk_threshold is not RISK_THRESHOLD:
            given["risk_threshold"] = risk_threshold
        check_flag("enable_early_warning", enable_early_warning)
        check_callback("on_step_callback", on_step_callback)
        check_callback("on_intervene", on_intervene)
        self._options: MonitorOptions = monitor_options(
            given, policies, own=CoreVitalMonitor.__init__, early_warning=enable_early_warning
        )
        when = intervene_on(intervene_on_risk_above, intervene_on_signals)
        if not enable_early_warning and intervene_on_signals is not INTERVENE_ON_SIGNALS:
            check_signals(when)
        self._rules = WatchRules(when, on_step_callback, on_intervene, enable_early_warning)
        check_store(store)
        file = None if store is None else MonitorStore(store)
        self._telemetry = Telemetry(self._options, file)
        self._close = None if file is None else weakref.finalize(self, file.close)
        self._models = LoadedModels()
        self._retrieved = as_rag_context(None)
        self._current: WatchedCall | None = None
        self._last: WatchedCall | None = None

    def set_rag_context(self, rag_context: Retrieved | None) -> None:
        """Tell what was retrieved for the prompts of the calls to come, where a call does not say so itself.

        Raises:
            ValueError: if it cannot be taken; the message names the field.
        """
        self._retrieved = as_rag_context(rag_context)

    def run(
        self,
        model: Any,
        prompt: Any = None,
        *,
        tokenizer: Any = None,
        rag_context: Retrieved | None = None,
        **generation: Any,
    ) -> Any:
        """Generate, and return what generate() returns.

        Args:
            model: a model, or its name: a folder, a hub id, or `smollm2`. What is loaded is kept with the monitor.
            prompt: text, taken as it is; a list of texts; messages, which go through the chat template; a tensor of
                token ids; what a tokenizer returns with `return_tensors="pt"`; or None, where keywords have it.
            tokenizer: of the model; None: the one loaded with it, else one on this machine under the model's name.
            rag_context: what was retrieved for the prompt; None: what `set_rag_context()` has told.
            generation: any keyword of generate().

        Raises:
            TypeError: for what is no model or no prompt.
            ValueError: if the model cannot be loaded, or there is no tokenizer for a prompt of text.
            Exception: whatever generate() raises.
        """
        job = self._job(model, prompt, tokenizer, rag_context, generation)
        retries = None
        if self._options.retries and not self._tell_why_not_repeated(job):
            judgements = self._telemetry.judgements()
            retries = Retries(self._options.retries, judgements, early_warning=self._rules.early_warning)
        call = self._call(job)
        result = self._generate(job, call, _never, retries)
        while retries is not None and (retry := retries.take()) is not None:
            job, before = job.changed(retry.changes), call
            call = self._call(job)
            call.retries = before.retries + 1
            result = self._generate(job, call, _never, retries, before.span_context)
        return result

    def stream(
        self,
        model: Any,
        prompt: Any = None,
        *,
        tokenizer: Any = None,
        rag_context: Retrieved | None = None,
        buffer: int = 256,
        overflow: Overflow = "block",
        **generation: Any,
    ) -> Stream:
        """Generate in a thread, and return the steps as they come: an iterator and an asynchronous iterator.

        Args:
            model: as in `run()`.
            prompt: as in `run()`.
            tokenizer: as in `run()`.
            rag_context: as in `run()`.
            buffer: steps that wait for their reader, at most.
            overflow: what happens beyond: generation waits (`block`), or the oldest step is dropped and counted.
            generation: any keyword of generate().

        Raises:
            TypeError: for what is no model or no prompt.
            ValueError: for a bad `buffer` or `overflow`.
            RuntimeError: where CoreVital is switched off, so that there would be no steps.
        """
        job = self._job(model, prompt, tokenizer, rag_context, generation)
        return self._stream(Stream, job, buffer, overflow)

    @overload
    def wrap_generation(self, model: Any, prompt: None = None) -> WatchedBlock: ...

    @overload
    def wrap_generation(self, model: Any, prompt: Any, **options: Any) -> WrappedGeneration: ...

    def wrap_generation(
        self,
        model: Any,
        prompt: Any = None,
        *,
        tokenizer: Any = None,
        rag_context: Retrieved | None = None,
        buffer: int = 256,
        overflow: Overflow = "block",
        **generation: Any,
    ) -> WrappedGeneration | WatchedBlock:
        """Watch a block.

        With a prompt, a thread generates, and iterating yields the steps. Leaving the block waits for the run's end;
        an exception that leaves it ends the run.

            with monitor.wrap_generation(model, "Once upon a time", max_new_tokens=100) as run:
                for step in run:
                    print(step.token_text, end="")

        Without a prompt, the block's own generate() calls are watched, of this model or any other.

            with monitor.wrap_generation(model) as run:
                model.generate(**inputs, max_new_tokens=100)
            print(run.get_summary())

        Args:
            model, prompt, tokenizer, rag_context, generation: as in `run()`; without a prompt the model is no name.
            buffer, overflow: as in `stream()`; without a prompt the oldest step is always dropped.

        Raises:
            TypeError: for what is no model or no prompt, and for keywords of generate() without a prompt.
            ValueError: for a bad `buffer` or `overflow`.
            RuntimeError: where CoreVital is switched off, so that there would be no steps.
        """
        if prompt is not None or any(name in generation for name in _INPUTS):
            job = self._job(model, prompt, tokenizer, rag_context, generation)
            return self._stream(WrappedGeneration, job, buffer, overflow)
        if generation:
            raise TypeError(
                f"wrap_generation: without a prompt it is your own generate() call that takes {', '.join(generation)}"
            )
        if isinstance(model, str | os.PathLike):
            raise TypeError("wrap_generation: without a prompt give the model that you call, not its name")
        check_model(model)
        check_tokenizer(tokenizer)
        size, _ = check_buffer(buffer, overflow)
        job = self._job(model, None, tokenizer, rag_context, {})
        self._tell_of_retries()
        known = self._models.model(model)[1] if tokenizer is None else tokenizer
        return WatchedBlock(
            lambda hand_on: self._call(job, hand_on),
            self._telemetry.call,
            retrieved(job.rag),
            known,
            self._begun,
            self._ended,
            self._settings,
            size,
        )

    def close(self) -> None:
        """Write what is left into the store, and close it. A monitor that is collected closes it, too."""
        if self._close is not None:
            self._close()

    # --- what is asked of runs ---------------------------------------------------------------------------------------

    def _live(self) -> WatchedCall | None:
        return self._current

    def _finished(self) -> WatchedCall | None:
        return self._last

    def _settings(self) -> Any:
        return self._telemetry.settings()

    # --- how calls are made ------------------------------------------------------------------------------------------

    def _job(
        self, model: Any, prompt: Any, tokenizer: Any, rag: Retrieved | None, generation: Mapping[str, Any]
    ) -> Job:
        check_model(model)
        check_prompt(prompt)
        check_tokenizer(tokenizer)
        return Job(model, prompt, tokenizer, self._retrieved if rag is None else as_rag_context(rag), generation)

    def _call(self, job: Job, hand_on: Callable[[StepEvent], object] | None = None) -> WatchedCall:
        """Return what watches a call."""
        call = WatchedCall(self._rules, hand_on)
        if job.rag is not None:
            call.attributes, _ = rag_attributes(job.rag, content=self._telemetry.settings().content_on_span)
        return call

    def _stream(self, kind: type[_S], job: Job, buffer: int, overflow: Overflow) -> _S:
        if is_disabled():
            raise RuntimeError("CoreVital is switched off here (disabled()), so that there would be no steps")
        queue = StepQueue(*check_buffer(buffer, overflow))
        self._tell_of_retries()
        call = self._call(job, queue.put)
        self._begun(call)
        return kind(call, lambda is_cancelled: self._generate(job, call, is_cancelled), self._settings, queue)

    def _tell_why_not_repeated(self, job: Job) -> bool:
        """Say it where a call cannot be repeated; return whether that is so."""
        reason = job.why_not_repeated()
        if reason is not None:
            logger.warning("CoreVital: Retry cannot act on this call: %s", reason)
        return reason is not None

    def _tell_of_retries(self) -> None:
        if self._options.retries:
            logger.warning("CoreVital: Retry acts in run() alone: what has been yielded cannot be taken back")

    def _generate(
        self,
        job: Job,
        call: WatchedCall,
        is_cancelled: Callable[[], bool],
        retries: Retries | None = None,
        link: SpanContext | None = None,
    ) -> Any:
        """Carry out a call, on this thread."""
        self._begun(call)
        try:
            return job.carry_out(self._models, self._telemetry.call(link, retries), call, is_cancelled)
        finally:
            self._ended(call)
            if (reason := call.why_no_steps()) is not None:
                logger.warning("CoreVital: the run has no steps that could be read: %s", reason)

    def _begun(self, call: WatchedCall) -> None:
        self._current = call

    def _ended(self, call: WatchedCall) -> None:
        self._last = call


def _never() -> bool:
    return False


def _check_installed() -> None:
    """See to it that there is what generates.

    Raises:
        ImportError: if there is not; the message says what to install.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"CoreVitalMonitor needs {' and '.join(missing)}: "
            "pip install 'opentelemetry-instrumentation-corevital[transformers]'"
        )
