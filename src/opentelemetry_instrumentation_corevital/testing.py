"""For tests of your own: what CoreVital records of a run, kept in memory (docs/testing.md).

As a pytest plugin (`pytest_plugins = ["opentelemetry_instrumentation_corevital.testing"]`) this module has the fixture
`corevital_capture`; without pytest, `capture_runs()` does the same for a block.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import export as _log_export
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import Span

from . import semconv
from .baselines.lookup import OFF
from .config import BASELINE_NAMES, environment_variable, load_settings
from .instrumentation.instrumentor import CoreVitalInstrumentor, make_recorder
from .instrumentation.patched_methods import process_recorder, set_process_recorder
from .presentation.judged_runs import JudgedRuns
from .run import Run

if TYPE_CHECKING:
    import pytest

__all__ = ["InMemoryTelemetry", "capture_runs"]

Item = TypeVar("Item")

# Its name until 1.44 was InMemoryLogExporter.
_InMemoryLogs: Any = getattr(_log_export, "InMemoryLogRecordExporter", None) or getattr(
    _log_export, "InMemoryLogExporter", None
)


class InMemoryTelemetry:
    """Providers of its own whose telemetry stays in memory, and the runs that were judged.

    Args:
        sampler: decides which runs are recorded; default all of them.
    """

    role = "testing"
    """Of a judgement that comes after all others: so it sees each run with its verdict."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.span_exporter = InMemorySpanExporter()
        self.log_exporter = _InMemoryLogs()
        self.reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.span_exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self.log_exporter))
        self._runs: list[Run] = []
        self._metrics: dict[str, list[Any]] = {}

    @property
    def providers(self) -> dict[str, Any]:
        """Return the keywords of `instrument()` that name the providers."""
        return {
            "tracer_provider": self.tracer_provider,
            "meter_provider": self.meter_provider,
            "logger_provider": self.logger_provider,
        }

    def on_run_ending(self, _span: Span, run: Run) -> None:
        """Keep a judged run."""
        self._runs.append(run)

    @property
    def runs(self) -> JudgedRuns:
        """Return the finished runs with their judgements, one per generated sequence, in the order of their ends."""
        return JudgedRuns(self._runs)

    @property
    def run(self) -> Run:
        """Return the only run.

        Raises:
            AssertionError: if there is none, or more than one.
        """
        return _only(self.runs, "run")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Return CoreVital's finished spans: one per call, and one per sequence of a call that has several."""
        return [
            span
            for span in self.span_exporter.get_finished_spans()
            if span.instrumentation_scope is not None and span.instrumentation_scope.name == semconv.SCOPE_NAME
        ]

    @property
    def span(self) -> ReadableSpan:
        """Return the only span.

        Raises:
            AssertionError: if there is none, or more than one.
        """
        return _only(self.spans, "span")

    @property
    def logs(self) -> list[Any]:
        """Return the log records: verdicts and run data, each with `event_name`, `attributes` and `body`."""
        return [data.log_record for data in self.log_exporter.get_finished_logs()]

    def metrics(self) -> dict[str, list[Any]]:
        """Return metric -> data points, each with `attributes` and, as its kind has it, `value`, or `sum` and `count`.

        They add up since the beginning of the block; `clear()` does not change them.
        """
        data = self.reader.get_metrics_data()
        if data is not None:
            self._metrics = {
                metric.name: list(metric.data.data_points)
                for resource in data.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }
        return self._metrics

    def clear(self) -> None:
        """Forget the runs, spans and log records so far."""
        self._runs.clear()
        self.span_exporter.clear()
        self.log_exporter.clear()

    def close(self) -> None:
        """Shut the providers down; what was recorded stays to be looked at."""
        self.metrics()
        for provider in (self.tracer_provider, self.meter_provider, self.logger_provider):
            provider.shutdown()

    def __repr__(self) -> str:
        """Return what was captured, a line for each of the first runs."""
        captured = f"<{type(self).__name__}: {len(self.spans)} spans, {len(self.logs)} log records, "
        return f"{captured}{self.runs!r}>"

    def _repr_html_(self) -> str:
        return self.runs._repr_html_()


def _only(items: list[Item], what: str) -> Item:
    if len(items) != 1:
        raise AssertionError(f"{len(items)} {what}s were captured, not one")
    return items[0]


@contextmanager
def capture_runs(**options: Any) -> Iterator[InMemoryTelemetry]:
    """Capture every `generate()` call of the process while the block runs; it can be read afterwards, too.

    Where the process is instrumented already, the block's telemetry stays in memory instead of going where it goes
    otherwise. Afterwards all is as it was. Of nested blocks the innermost captures.

    Args:
        options: options of `instrument()`, `judgements` among them. Whatever the environment says, CoreVital is on, and
            without the option `capture_ratio` every run is measured. Without the option `baseline`, and without its
            variable, no baseline is read or learned: a test's verdicts do not depend on what ran before.

    Raises:
        SettingsError: for a bad option.
        RuntimeError: where nothing can be captured: without transformers, or with OTEL_SDK_DISABLED=true.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        raise RuntimeError("OTEL_SDK_DISABLED=true: OpenTelemetry records nothing, so there is nothing to capture")
    telemetry = InMemoryTelemetry()
    judgements = [*options.pop("judgements", ()), telemetry]
    options = {"capture_ratio": 1.0, **_no_baseline(options), **options, "enabled": True}
    try:
        with _taken_over(telemetry, judgements, options):
            yield telemetry
    finally:
        telemetry.close()


def _no_baseline(options: dict[str, Any]) -> dict[str, Any]:
    """Return the option that switches baselines off, unless somebody has asked for one."""
    asked = any(options.get(name) or os.environ.get(environment_variable(name)) for name in BASELINE_NAMES)
    return {} if asked else {"baseline": OFF}


@contextmanager
def _taken_over(telemetry: InMemoryTelemetry, judgements: list[Any], options: dict[str, Any]) -> Iterator[None]:
    ours = CoreVitalInstrumentor()
    before = process_recorder()
    if before is not None:
        policies = options.pop("policies", ())
        settings = load_settings(options)
        recorder = make_recorder(settings, **telemetry.providers, judgements=judgements, policies=policies)
        set_process_recorder(recorder)
        try:
            yield
        finally:
            recorder.close()
            if process_recorder() is recorder:  # else the block has uninstrumented it
                set_process_recorder(before)
        return
    if ours.is_instrumented_by_opentelemetry:  # with enabled=false: nothing is patched
        ours.uninstrument()
    ours.instrument(**telemetry.providers, judgements=judgements, **options)
    if process_recorder() is None:
        raise RuntimeError("transformers is not installed in a version that is supported: there is nothing to capture")
    try:
        yield
    finally:
        if ours.is_instrumented_by_opentelemetry:
            ours.uninstrument()


try:
    import pytest
except ImportError:
    pass
else:

    def pytest_configure(config: "pytest.Config") -> None:
        """Make the marker known."""
        config.addinivalue_line("markers", "corevital(**options): options of instrument() for `corevital_capture`")

    @pytest.fixture
    def corevital_capture(request: "pytest.FixtureRequest") -> Iterator[InMemoryTelemetry]:
        """Capture the runs of one test; the options are those of its marker `corevital`."""
        marker = request.node.get_closest_marker("corevital")
        with capture_runs(**(marker.kwargs if marker is not None else {})) as telemetry:
            yield telemetry
