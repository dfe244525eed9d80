"""`CoreVitalInstrumentor`: wiring only. Providers make a recorder, and the recorder goes into the patch table."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from .._internal import dropped_telemetry, generate_state
from .._internal.error_text import allow_messages, describe
from .._internal.package import _instruments
from .._internal.safety import shielded
from ..store import exporter_options
from ..version import __version__
from . import callers, child_processes, uninstrumented
from .call_context import forget_contexts
from .chat_memory import recent_chats
from .declarative_config import declared_options
from .flushing import finish, providers
from .patches import ClassPatch, PatchTable
from .sigterm import flush_at_sigterm, leave_sigterm

if TYPE_CHECKING:
    from ..config import Settings
    from .recorder import Recorder

logger = logging.getLogger(__name__)

_GENERATION_MODULE: Final = "transformers.generation.utils"

_lock = threading.RLock()


class CoreVitalInstrumentor(BaseInstrumentor):
    """Instruments `transformers.GenerationMixin.generate` for the whole process.

    `instrument()` may be called before or after transformers is imported and before or after the global providers
    are set; a second call only warns. `uninstrument()` takes everything back.

    Keyword arguments of `instrument()`:

    - `tracer_provider`, `meter_provider`, `logger_provider`: where telemetry goes; default the global providers.
    - `judgements`: objects with a `role` and `on_run_ending(span, run)`; each takes the place of CoreVital's own
      judgement of that role, others come after them.
    - every option of `Settings` (docs/configuration.md). An option that is not given is read from its environment
      variable.

    Raises `SettingsError` for a bad option, except under zero-code start-up, where one line is logged and CoreVital
    stays off: an exception there would keep all other instrumentations from starting.
    """

    # State is the class's: BaseInstrumentor is a singleton whose __init__ runs at every construction.
    _recorder: "Recorder | None" = None
    _refused = False

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what is instrumented."""
        return _instruments

    def instrument(self, **kwargs: Any) -> None:
        """Start instrumenting; see the class for the keyword arguments."""
        zero_code = bool(kwargs.get("skip_dep_check") or kwargs.get("raise_exception_on_conflict"))
        with _lock:
            if zero_code and type(self)._refused:
                return  # a bad declarative file has been told about: the loader's second call must not undo it
            if zero_code and self._recorder is None and _switched_off_in_file():
                logger.info("CoreVital is switched off (enabled: false in OTEL_CONFIG_FILE)")
                return
            before = self._recorder
            given = [kwargs.get(name) for name in ("tracer_provider", "meter_provider", "logger_provider")]
            try:
                super().instrument(**kwargs)
                if self._recorder is not None and (zero_code or self._recorder is not before):
                    _mind_endings(self._recorder.settings, given, zero_code=zero_code)
            except ValueError as error:
                type(self)._refused = True
                if not zero_code:
                    raise
                logger.error("%s. CoreVital stays off.", error)

    def uninstrument(self, **kwargs: Any) -> None:
        """Stop instrumenting and leave no trace; runs under way are finished."""
        with _lock:
            super().uninstrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        from ..config import load_settings

        tracer_provider = kwargs.pop("tracer_provider", None)
        meter_provider = kwargs.pop("meter_provider", None)
        logger_provider = kwargs.pop("logger_provider", None)
        judgements = kwargs.pop("judgements", None) or ()
        settings = load_settings(kwargs)
        type(self)._refused = False
        if not settings.enabled:
            logger.info("CoreVital is switched off (enabled=false)")
            return
        recorder = _recorder(settings, tracer_provider, meter_provider, logger_provider, judgements)
        allow_messages(settings.content)
        type(self)._recorder = recorder
        exporter_options.give(kwargs)
        dropped_telemetry.listen(recorder.instruments.record_unstored)
        _patches.apply(_imported)
        _leave_to_python()

    def _uninstrument(self, **_kwargs: Any) -> None:
        recorder, type(self)._recorder = self._recorder, None
        leave_sigterm()
        allow_messages(False)
        child_processes.prepare_none()
        exporter_options.take_back()
        if recorder is not None:
            dropped_telemetry.ignore(recorder.instruments.record_unstored)
            recorder.close()
        _patches.remove()
        recent_chats.clear()
        forget_contexts()
        if _GENERATION_MODULE in sys.modules:
            from ..capture.attach.attention_registry import unwrap_attention_functions
            from ..capture.attach.module_hooks import detach_all

            detach_all()
            unwrap_attention_functions()


def _switched_off_in_file() -> bool:
    """Tell whether the declarative file says `enabled: false`, for which its loader leaves out a call of its own."""
    try:
        return (declared_options() or {}).get("enabled", True) is False
    except Exception:  # a bad file, or no loader: the SDK says so
        return False


def _mind_endings(settings: "Settings", given: Sequence[Any], *, zero_code: bool) -> None:
    """See to it that what was measured is exported where a process ends without the interpreter's exit handlers.

    A handler of SIGTERM is the program's business: one that is instrumented in code gets it where it asks for it, by
    `flush_on_sigterm=True`. Children of `multiprocessing` are ended by that signal as a matter of course.
    """

    parent = None if child_processes.is_child() else os.getpid()

    def held() -> list[Any]:
        # Many children never generate: those that load data, say. They do not wait for metrics of their parent.
        # SIGTERM can end a child before it is prepared, by the handler that it has from its parent.
        return providers(given, metered=os.getpid() == parent or generate_state.has_generated())

    def prepare_child() -> None:
        child_processes.call_at_end(lambda: finish(held(), "force_flush"))
        if settings.flush_on_sigterm:
            flush_at_sigterm(held)

    child_processes.prepare_each(prepare_child)
    if settings.flush_on_sigterm and (zero_code or "flush_on_sigterm" in settings.model_fields_set):
        flush_at_sigterm(held)


def _generate(wrapped: Any, model: Any, args: Any, kwargs: Any) -> Any:
    recorder = CoreVitalInstrumentor._recorder
    if recorder is None:
        return wrapped(*args, **kwargs)
    return recorder.generate(wrapped, model, args, kwargs)


_GENERATION_METHODS = (
    "generate",
    "_get_logits_processor",
    "_get_stopping_criteria",
    "_update_model_kwargs_for_generation",
    "_get_running_beams_for_next_iteration",
    "_update_finished_beams",
)
"""Methods of `GenerationMixin` that are patched."""


def _generation_patches() -> Sequence[tuple[str, ClassPatch]]:
    from ..capture.attach.generation_loop import (
        hook_finished_beams,
        hook_logits_processor,
        hook_output,
        hook_running_beams,
        hook_stopping_criteria,
    )
    from ..capture.isolation.compiled_code import left_out

    def logits_processor(wrapped: Any, model: Any, args: Any, kwargs: Any) -> Any:
        with shielded("instrumentor.unseen"):
            if not generate_state.in_generate():
                uninstrumented.loop_prepared(model, sys.modules[_GENERATION_MODULE].GenerationMixin)
        return hook_logits_processor(wrapped, model, args, kwargs)

    wrappers = (
        _generate,
        logits_processor,
        hook_stopping_criteria,
        hook_output,
        hook_running_beams,
        hook_finished_beams,
    )
    return [
        ("GenerationMixin", ClassPatch(method, left_out(wrapper)))
        for method, wrapper in zip(_GENERATION_METHODS, wrappers, strict=True)
    ]


def _own_generates(classes: Sequence[str]) -> Callable[[], Sequence[tuple[str, ClassPatch]]]:
    return lambda: [(name, ClassPatch("generate", uninstrumented.own_generate_called)) for name in classes]


_patches = PatchTable(
    {
        _GENERATION_MODULE: _generation_patches,
        "transformers.generation.streamers": lambda: (("TextStreamer", ClassPatch("__init__", callers.streamer_made)),),
        "transformers.pipelines.base": lambda: (("Pipeline", ClassPatch("forward", callers.pipeline_forward)),),
        "transformers.tokenization_utils_base": lambda: (
            ("PreTrainedTokenizerBase", ClassPatch("apply_chat_template", callers.template_applied)),
            ("PreTrainedTokenizerBase", ClassPatch("__call__", callers.tokenized)),
        ),
        "transformers.processing_utils": lambda: (
            ("ProcessorMixin", ClassPatch("apply_chat_template", callers.template_applied)),
        ),
        "transformers.cli.serving.utils": lambda: (
            ("InferenceThread", ClassPatch("submit", callers.work_submitted)),
            ("InferenceThread", ClassPatch("async_submit", callers.work_submitted)),
        ),
        uninstrumented.CONTINUOUS_BATCHING_MODULE: lambda: (
            ("ContinuousMixin", ClassPatch("init_continuous_batching", uninstrumented.continuous_batching_begun)),
        ),
        **{module: _own_generates(classes) for module, classes in uninstrumented.OWN_GENERATE.items()},
    }
)


def _leave_to_python() -> None:
    """Keep `torch.compile` out of the functions that stand in the place of methods; what they call it compiles."""
    # Without the class where its module is only being imported: modules that it imports come here before it.
    if (owner := getattr(sys.modules.get(_GENERATION_MODULE), "GenerationMixin", None)) is not None:
        from ..capture.isolation.compiled_code import leave_out

        for method in _GENERATION_METHODS:
            leave_out(getattr(owner, method, None))


def _imported(module: ModuleType) -> None:
    with _lock:
        if CoreVitalInstrumentor._recorder is None:
            return
        try:
            _patches.patch(module)
            _leave_to_python()
        except Exception as error:
            logger.error(
                "CoreVital could not patch %s; what passes there is not seen: %s", module.__name__, describe(error)
            )


def _recorder(
    settings: Any, tracer_provider: Any, meter_provider: Any, logger_provider: Any, judgements: Sequence[Any]
) -> "Recorder":
    from opentelemetry._logs import get_logger

    from .._internal import safety
    from ..emission.instruments import instruments_of
    from ..emission.judgements import RunJudgement, default_judgements, in_order
    from ..semconv import SCOPE_NAME
    from .recorder import Recorder

    for judgement in judgements:
        if not isinstance(judgement, RunJudgement):
            raise TypeError(
                f"CoreVital: judgements: {judgement!r} needs a `role` and a method `on_run_ending(span, run)`"
            )
    safety.reset()
    return Recorder(
        settings=settings,
        tracer=trace.get_tracer(SCOPE_NAME, __version__, tracer_provider),
        instruments=instruments_of(meter_provider),
        logger=get_logger(SCOPE_NAME, __version__, logger_provider),
        judgements=in_order(default_judgements(settings), judgements),
    )
