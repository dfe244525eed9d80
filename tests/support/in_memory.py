"""Telemetry in memory, a judgement that keeps runs, and a process that is instrumented for a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import Span

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, Run
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry as Telemetry


class Keep:
    """A judgement that keeps the runs that it sees."""

    role = "keep"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def on_run_ending(self, span: Span, run: Run) -> None:
        self.runs.append(run)


@contextmanager
def instrumented(telemetry: Telemetry | None = None, **options: Any) -> Iterator[Telemetry]:
    """Instrument the process for the block."""
    telemetry = telemetry or Telemetry()
    instrumentor = CoreVitalInstrumentor()
    instrumentor.instrument(**{**telemetry.providers, **options})
    try:
        yield telemetry
    finally:
        instrumentor.uninstrument()
