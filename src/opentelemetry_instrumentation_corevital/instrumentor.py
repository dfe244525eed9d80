"""`CoreVitalInstrumentor`: wiring only. Providers make a recorder, and the recorder goes into the patch table."""

import logging
import sys
import threading
from collections.abc import Collection, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import wrapt
from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from .package import _instruments
from .patches import ClassPatch
from .version import __version__

if TYPE_CHECKING:
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
    _patches: tuple[ClassPatch, ...] = ()
    _recorder: "Recorder | None" = None
    _hooked = False
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
            try:
                super().instrument(**kwargs)
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
        from .config import load_settings

        tracer_provider = kwargs.pop("tracer_provider", None)
        meter_provider = kwargs.pop("meter_provider", None)
        logger_provider = kwargs.pop("logger_provider", None)
        judgements = kwargs.pop("judgements", None) or ()
        settings = load_settings(kwargs)
        type(self)._refused = False
        if not settings.enabled:
            logger.info("CoreVital is switched off (enabled=false)")
            return
        type(self)._recorder = _recorder(settings, tracer_provider, meter_provider, logger_provider, judgements)
        self._patch_on_import()

    def _uninstrument(self, **_kwargs: Any) -> None:
        recorder, type(self)._recorder = self._recorder, None
        if recorder is not None:
            recorder.instruments.close()
        for patch in self._patches:
            patch.remove()
        if self._patches:
            from .capture.hooks import detach_all
            from .capture.registry import unwrap_attention_functions

            detach_all()
            unwrap_attention_functions()

    def _patch_on_import(self) -> None:
        if _GENERATION_MODULE in sys.modules:
            self._patch(sys.modules[_GENERATION_MODULE])
        elif not type(self)._hooked:  # hooks cannot be taken back, so there is at most one
            type(self)._hooked = True
            wrapt.register_post_import_hook(_generation_imported, _GENERATION_MODULE)

    def _patch(self, module: ModuleType) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        if not self._patches:
            from .capture.taps import tap_logits_processor, tap_stopping_criteria

            type(self)._patches = (
                ClassPatch("generate", _generate),
                ClassPatch("_get_logits_processor", tap_logits_processor),
                ClassPatch("_get_stopping_criteria", tap_stopping_criteria),
            )
        for patch in self._patches:
            patch.apply(module.GenerationMixin)


def _generate(wrapped: Any, model: Any, args: Any, kwargs: Any) -> Any:
    recorder = CoreVitalInstrumentor._recorder
    if recorder is None:
        return wrapped(*args, **kwargs)
    return recorder.generate(wrapped, model, args, kwargs)


def _generation_imported(module: ModuleType) -> None:
    with _lock:
        try:
            CoreVitalInstrumentor()._patch(module)
        except Exception:
            logger.exception("CoreVital could not patch %s and stays off", _GENERATION_MODULE)


def _recorder(
    settings: Any, tracer_provider: Any, meter_provider: Any, logger_provider: Any, judgements: Sequence[Any]
) -> "Recorder":
    from opentelemetry._logs import get_logger
    from opentelemetry.metrics import get_meter

    from . import safety
    from .emission.metrics import Instruments
    from .processors import RunJudgement, default_judgements, in_order
    from .recorder import Recorder
    from .semconv import SCOPE_NAME

    for judgement in judgements:
        if not isinstance(judgement, RunJudgement):
            raise TypeError(
                f"CoreVital: judgements: {judgement!r} needs a `role` and a method `on_run_ending(span, run)`"
            )
    safety.reset()
    return Recorder(
        settings=settings,
        tracer=trace.get_tracer(SCOPE_NAME, __version__, tracer_provider),
        instruments=Instruments(get_meter(SCOPE_NAME, __version__, meter_provider)),
        logger=get_logger(SCOPE_NAME, __version__, logger_provider),
        judgements=in_order(default_judgements(settings), judgements),
    )
