"""`CoreVitalInstrumentor`: wiring only. Providers make a recorder, which then records every call of the process."""

import logging
import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from .._internal import dropped_telemetry, generate_state
from .._internal.error_text import allow_messages
from .._internal.package import _instruments
from ..store import exporter_options
from ..version import __version__
from . import banner, child_processes
from .declarative_config import declared_options
from .flushing import baseline_learners, finish, providers
from .patched_methods import lock, patch, process_recorder, set_process_recorder, unpatch
from .sigterm import flush_at_sigterm, insist_on_sigterm, leave_sigterm

if TYPE_CHECKING:
    from ..config import Settings
    from ..emission.judgements import RunJudgement
    from .recorder import Recorder

logger = logging.getLogger(__name__)


class CoreVitalInstrumentor(BaseInstrumentor):
    """Instruments `transformers.GenerationMixin.generate` for the whole process.

    `instrument()` may be called before or after transformers is imported and before or after the global providers
    are set; a second call only warns. `uninstrument()` takes everything back.

    Keyword arguments of `instrument()`:

    - `tracer_provider`, `meter_provider`, `logger_provider`: where telemetry goes; default the global providers.
    - `policies`: what may act on a run while it goes on (`opentelemetry_instrumentation_corevital.policies`); of those
      whose condition is true the first one acts that can, and after them what the option `stop_on` names.
    - `judgements`: objects with a `role` and `on_run_ending(span, run)`; each takes the place of CoreVital's own
      judgement of that role, others come after them.
    - every option of `Settings` (docs/configuration.md). An option that is not given is read from its environment
      variable.

    Raises `SettingsError` for a bad option, except under zero-code start-up, where one line is logged and CoreVital
    stays off: an exception there would keep all other instrumentations from starting.
    """

    # State is the class's: BaseInstrumentor is a singleton whose __init__ runs at every construction.
    _refused = False

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what is instrumented."""
        return _instruments

    def instrument(self, **kwargs: Any) -> None:
        """Start instrumenting; see the class for the keyword arguments."""
        zero_code = bool(kwargs.get("skip_dep_check") or kwargs.get("raise_exception_on_conflict"))
        with lock:
            if zero_code and type(self)._refused:
                return  # a bad declarative file has been told about: the loader's second call must not undo it
            if zero_code and process_recorder() is None and _switched_off_in_file():
                logger.info("CoreVital is switched off (enabled: false in OTEL_CONFIG_FILE)")
                return
            before = process_recorder()
            given = [kwargs.get(name) for name in ("tracer_provider", "meter_provider", "logger_provider")]
            try:
                super().instrument(**kwargs)
                recorder = process_recorder()
                if recorder is not None and recorder is not before:
                    banner.tell(recorder.settings, zero_code=zero_code)
                if recorder is not None and (zero_code or recorder is not before):
                    _mind_endings(recorder.settings, given, zero_code=zero_code)
            except ValueError as error:
                type(self)._refused = True
                if not zero_code:
                    raise
                logger.error("%s. CoreVital stays off.", error)

    def uninstrument(self, **kwargs: Any) -> None:
        """Stop instrumenting and leave no trace; runs under way are finished."""
        with lock:
            super().uninstrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        from ..config import load_settings

        tracer_provider = kwargs.pop("tracer_provider", None)
        meter_provider = kwargs.pop("meter_provider", None)
        logger_provider = kwargs.pop("logger_provider", None)
        judgements = kwargs.pop("judgements", None) or ()
        policies = kwargs.pop("policies", None) or ()
        settings = load_settings(kwargs)
        type(self)._refused = False
        if not settings.enabled:
            logger.info("CoreVital is switched off (enabled=false)")
            return
        recorder = make_recorder(settings, tracer_provider, meter_provider, logger_provider, judgements, policies)
        allow_messages(settings.content)
        set_process_recorder(recorder)
        exporter_options.give(kwargs)
        dropped_telemetry.listen(recorder.instruments.record_unstored)
        patch(type(self))

    def _uninstrument(self, **_kwargs: Any) -> None:
        recorder = process_recorder()
        set_process_recorder(None)
        leave_sigterm()
        allow_messages(False)
        child_processes.prepare_none()
        exporter_options.take_back()
        if recorder is not None:
            dropped_telemetry.ignore(recorder.instruments.record_unstored)
            recorder.close()
        unpatch(type(self))


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
        metered = os.getpid() == parent or generate_state.has_generated()
        return [*providers(given, metered=metered), *baseline_learners()]

    def prepare_child() -> None:
        child_processes.call_at_end(lambda: finish(held(), "force_flush"))
        if settings.flush_on_sigterm and flush_at_sigterm(held):
            insist_on_sigterm()

    child_processes.prepare_each(prepare_child)
    if settings.flush_on_sigterm and (zero_code or "flush_on_sigterm" in settings.model_fields_set):
        flush_at_sigterm(held)


def check_judgements(judgements: Sequence[Any]) -> "tuple[RunJudgement, ...]":
    """Return what users gave as judgements.

    Raises:
        TypeError: for what is no judgement.
    """
    from ..emission.judgements import RunJudgement

    for judgement in judgements:
        if not isinstance(judgement, RunJudgement):
            raise TypeError(
                f"CoreVital: judgements: {judgement!r} needs a `role` and a method `on_run_ending(span, run)`"
            )
    return tuple(judgements)


def make_recorder(
    settings: "Settings",
    tracer_provider: Any = None,
    meter_provider: Any = None,
    logger_provider: Any = None,
    judgements: Sequence[Any] = (),
    policies: Sequence[Any] = (),
) -> "Recorder":
    """Return what records calls and reports to these providers.

    Raises:
        TypeError: for what is no judgement.
        PolicyError: for what is no policy, or can do nothing here.
    """
    from opentelemetry._logs import get_logger

    from .._internal import safety
    from ..emission.instruments import instruments_of
    from ..emission.judgements import default_judgements, in_order
    from ..policies import check_policies, stop_on
    from ..semconv import SCOPE_NAME
    from .recorder import Recorder

    given = check_judgements(judgements)
    conditions = settings.stop_on
    given_policies = check_policies(policies)
    acting = given_policies + ((stop_on(conditions),) if conditions else ())
    safety.reset()
    recorder = Recorder(
        settings=settings,
        tracer=trace.get_tracer(SCOPE_NAME, __version__, tracer_provider),
        instruments=instruments_of(meter_provider),
        logger=get_logger(SCOPE_NAME, __version__, logger_provider),
        judgements=in_order(default_judgements(settings), given),
        policies=acting,
    )
    recorder.given, recorder.given_policies = given, given_policies
    return recorder
