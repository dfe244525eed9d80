"""With what a monitor's calls are recorded: the instrumentor's providers and judgements, else the global providers."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry._logs import get_logger
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanContext

from ..catalogue.warnings import EARLY_WARNINGS
from ..config import Settings
from ..emission.instruments import instruments_of
from ..emission.judgements import RunJudgement, default_judgements, in_order
from ..instrumentation.patched_methods import process_recorder
from ..instrumentation.policy_engine import Refusals
from ..instrumentation.recorder import Recorder
from ..policies import Policy, stop_on
from ..run import Run
from ..semconv import SCOPE_NAME
from ..version import __version__
from .call_tracer import CallTracer
from .monitor_options import MonitorOptions, needs_early_warning
from .monitor_store import KeptLogs, MonitorStore

_EARLY_WARNING: Final = "early_warning"


class CallTelemetry:
    """With what the calls of one `run()`, stream or block are recorded.

    Args:
        recorder: records them.
        store: gets what was recorded; None: nobody.
    """

    def __init__(self, recorder: Recorder, store: MonitorStore | None) -> None:
        self.recorder = recorder
        self._store = store

    def write(self) -> None:
        """Write what has ended since the last time into the store, if there is one."""
        tracer, logger = self.recorder.tracer, self.recorder.logger
        if self._store is not None and isinstance(tracer, CallTracer) and isinstance(logger, KeptLogs):
            self._store.write(tracer.take_ended(), logger.take())


class Telemetry:
    """Makes that for each call of a monitor.

    Args:
        options: of the monitor.
        store: gets what was recorded; None: nobody.

    Raises:
        ProfileError: if the setting names a profile that is not there or damaged.
    """

    def __init__(self, options: MonitorOptions, store: MonitorStore | None) -> None:
        self._options = options
        self._store = store
        self._own = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._refusals = Refusals()
        self._judged_for: Callable[[], Recorder | None] = _nobody
        self._judgements = self._made(None)

    def settings(self) -> Settings:
        """Return the options that hold now: those that the monitor was given, for the rest the instrumentor's."""
        base = process_recorder()
        return self._options.settings if base is None else self._options.over(base.settings)

    def call(self, link: SpanContext | None = None, judgement: RunJudgement | None = None) -> CallTelemetry:
        """Return with what a call is recorded.

        Args:
            link: ids of the span of a call that this one comes after; None: of none.
            judgement: comes after all others; None: there is none.
        """
        base, keep = process_recorder(), self._store is not None
        logger = get_logger(SCOPE_NAME, __version__) if base is None else base.logger
        both: Any = KeptLogs(logger) if keep else logger
        judgements = self._judgements_under(base)
        policies = self._policies(base)
        recorder = Recorder(
            settings=self.settings(),
            tracer=CallTracer(None if base is None else base.tracer, self._own, link, keep=keep),
            instruments=instruments_of(None) if base is None else base.instruments,
            logger=both,
            judgements=judgements if judgement is None else in_order(judgements, [judgement]),
            policies=policies,
        )
        recorder.refusals = self._refusals  # of all calls: what is true of many is said once
        if base is not None:
            recorder.listeners = base.listeners
        if not self._options.early_warning:
            self._tell_of_warnings(policies)
        return CallTelemetry(recorder, self._store)

    def _tell_of_warnings(self, policies: Sequence[Policy]) -> None:
        """Say which of the process's policies wait for a warning that is not made; a monitor's own are refused."""
        for policy in policies:
            for each in filter(needs_early_warning, policy.conditions):
                self._refusals.tell(f"{type(policy).__name__} on {each.name}", "enable_early_warning=False")

    def judgements(self) -> Sequence[RunJudgement]:
        """Return what judges the monitor's runs now."""
        return self._judgements_under(process_recorder())

    def _judgements_under(self, base: Recorder | None) -> Sequence[RunJudgement]:
        """Return what judges the monitor's runs: the judgements given to the instrumentor, else CoreVital's own."""
        if self._judged_for() is not base:
            self._judgements = self._made(base)
            self._judged_for = _nobody if base is None else weakref.ref(base)
        return self._judgements

    def _made(self, base: Recorder | None) -> Sequence[RunJudgement]:
        given: Sequence[RunJudgement] = () if base is None else base.given
        if not self._options.early_warning:
            given = [*(each for each in given if each.role != _EARLY_WARNING), NoEarlyWarning()]
        settings = self._options.settings if base is None else self._options.over(base.settings)
        return in_order(default_judgements(settings), given)

    def _policies(self, base: Recorder | None) -> Sequence[Policy]:
        """Return what may act on a call: the monitor's policies, then those of the process."""
        if base is not None and "stop_on" not in self._options.keywords:
            return [*self._options.policies, *base.policies]
        conditions = self._options.settings.stop_on
        own = [*self._options.policies, *([stop_on(conditions)] if conditions else [])]
        return own if base is None else [*own, *base.given_policies]


class NoEarlyWarning:
    """Stands where early warnings would be made, and says that they are not."""

    role = _EARLY_WARNING

    def on_run_ending(self, _span: Span, run: Run) -> None:
        """Say that no early warning was looked for."""
        run.absent.update(dict.fromkeys((each.name for each in EARLY_WARNINGS), _SWITCHED_OFF))


_SWITCHED_OFF: Final = "switched off (enable_early_warning=False)"


def _nobody() -> None:
    return None
