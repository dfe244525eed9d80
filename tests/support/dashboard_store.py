"""A store to look at: some runs of the real model, and made ones of several models over the same prompts and days.

`python -m tests.support.dashboard_store FILE` writes one.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from opentelemetry_instrumentation_corevital import Run, recording
from opentelemetry_instrumentation_corevital._internal.prompt import Prompt
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.made_runs import ROLLED_BACK, intervened
from tests.support.real_prompts import HEALTHY, chat
from tests.support.reported_runs import FLAGGED, healthy, medium, report

if TYPE_CHECKING:
    from opentelemetry_instrumentation_corevital.loading.models import LoadedModel

PROMPTS: Final = (
    "Describe a lighthouse at night.",
    "Write a haiku about rust.",
    "Explain what a lathe does.",
    "Name a tool.",
)
_WILD: Final = "made/wild-3b"
_STEADY: Final = "made/steady-1b"
_KINDS_OF_STEADY: Final = ("healthy", "medium", "plain", "repetition_loop_detected", "rolled back")
REAL_PROMPT: Final = HEALTHY
_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_DAY_NS: Final = 24 * 3600 * 10**9


@dataclass(frozen=True)
class Filled:
    """The pages of a store's runs, by what they are good for: paths of the dashboard."""

    answer: str
    """Of the real model, with text."""
    repeated: str
    """Of the real model to the same prompt, sampled."""
    looping: str
    """A made one that loops."""
    plain: str
    """A made one without a layer's numbers, and without text."""
    failed: str
    """A made one that ended at its first step."""


def fill(path: Path, loaded: "LoadedModel") -> Filled:
    """Write the store; 40 tokens are generated.

    Args:
        path: its file.
        loaded: the real model.
    """
    real = _real_runs(path, loaded)
    made = _made_runs(path)
    return Filled(*real, made["repetition_loop_detected"], made["plain"], made["failed"])


def _real_runs(path: Path, loaded: "LoadedModel") -> list[str]:
    import torch

    with _content(), recording(path, capture="full"):
        torch.manual_seed(3)
        for count, sampled in ((24, False), (16, True)):
            loaded.model.generate(**chat(loaded, REAL_PROMPT), max_new_tokens=count, do_sample=sampled)
    with open_store(path) as store:
        return [f"/runs/{run.trace_id}/{run.span_id}" for run in reversed(store.runs(limit=2))]


def _made_runs(path: Path) -> dict[str, str]:
    """Report runs of each kind by both models, some hours apart; return kind -> page of one."""
    telemetry, pages, now = InMemoryTelemetry(), dict[str, str](), time.time_ns()
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(SQLiteSpanExporter(str(path))))
    telemetry.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(SQLiteLogExporter(str(path))))
    kinds = {**FLAGGED, "healthy": healthy, "medium": medium, "plain": lambda: _plain(medium()), "failed": _failed}
    kinds["rolled back"] = lambda: intervened(ROLLED_BACK, run=healthy())
    of_models = [(kind, _WILD) for kind in kinds] + [(kind, _STEADY) for kind in _KINDS_OF_STEADY]
    for number, ((kind, model), prompt) in enumerate(product(of_models, PROMPTS)):
        run = _moved(_uneven(kinds[kind](), number), now - (number % 12 + 1) * _DAY_NS // 3 - number * 10**9)
        run.model, run.prompt = replace(run.model, name=model), Prompt(text=prompt, source="text")
        span = report(telemetry, run, failed=kind == "failed")
        context = span.get_span_context()
        pages[kind] = f"/runs/{context.trace_id:032x}/{context.span_id:016x}"
    telemetry.tracer_provider.shutdown()
    telemetry.logger_provider.shutdown()
    return pages


def _uneven(run: Run, seed: int) -> Run:
    """Let what a made run has the same at each step go up and down."""
    waves = np.random.default_rng(seed).uniform(0.7, 1.25, run.steps).astype(np.float32)
    for name in ("entropy", "surprisal"):
        run.columns[name] = run.columns[name] * waves
    for name in ("margin", "top1_prob"):
        run.columns[name] = run.columns[name] * np.clip(1.7 - waves, 0, 1)
    return run


def _plain(run: Run) -> Run:
    for name in [name for name, values in run.columns.items() if values.ndim > 1]:
        del run.columns[name]
    return run


def _failed() -> Run:
    run = healthy()
    run.columns = {name: values[:1] for name, values in run.columns.items()}
    run.tokens, run.time_ns = run.tokens[:1], run.time_ns[:1]
    run.stop_reason, run.finish_reason, run.error_type = "error", "error", "RuntimeError"
    return run


def _moved(run: Run, start_ns: int) -> Run:
    run.time_ns = run.time_ns + (start_ns - run.start_ns)
    run.start_ns, run.end_ns = start_ns, start_ns + (run.end_ns - run.start_ns)
    return run


@contextmanager
def _content() -> Iterator[None]:
    before = os.environ.get(_CONTENT)
    os.environ[_CONTENT] = "span_and_event"
    try:
        yield
    finally:
        os.environ.pop(_CONTENT) if before is None else os.environ.update({_CONTENT: before})


if __name__ == "__main__":
    from opentelemetry_instrumentation_corevital.loading.models import load_model

    print(fill(Path(sys.argv[1]), load_model("smollm2", device="cpu")))
