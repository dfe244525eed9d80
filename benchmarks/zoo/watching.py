"""CoreVital's own capture in full, with nothing reported: only the runs are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from opentelemetry_instrumentation_corevital.emission.judgements import ROLES


class Keep:
    """A judgement that keeps the runs."""

    role = "keep"

    def __init__(self) -> None:
        self.runs: list[Any] = []

    def on_run_ending(self, _span: Any, run: Any) -> None:
        """Keep a run."""
        self.runs.append(run)

    def clear(self) -> None:
        """Forget the runs so far."""
        self.runs.clear()


class _Nothing:
    """Takes the place of one of CoreVital's judgements: verdicts are made from what is stored, not here."""

    def __init__(self, role: str) -> None:
        self.role = role

    def on_run_ending(self, _span: Any, _run: Any) -> None:
        """Judge nothing."""


@contextmanager
def watched() -> Iterator[Keep]:
    """Keep every run of the block with all that `capture=full` measures."""
    keep, instrumentor = Keep(), CoreVitalInstrumentor()
    instrumentor.instrument(
        tracer_provider=NoOpTracerProvider(),
        meter_provider=NoOpMeterProvider(),
        judgements=[keep, *map(_Nothing, ROLES)],
        capture="full",
        capture_unsampled=True,
        attention_every=1,
        baseline="off",
    )
    try:
        yield keep
    finally:
        instrumentor.uninstrument()
