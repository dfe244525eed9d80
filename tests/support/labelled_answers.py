"""Short answers of a made model, right and wrong, in a store: what `corevital calibrate --labels` reads."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from opentelemetry_instrumentation_corevital.run import Prompt, Run
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.made_runs import make_run
from tests.support.reported_runs import report


def answer(seed: int, *, steps: int | None = None, model: str = "org/model", doubtful: float = 1.0) -> tuple[Run, bool]:
    """Return a run and whether its answer is wrong.

    Wrong ones are less sure; but this model's entropy tells more of that than its surprisal does.
    """
    rng = np.random.default_rng(seed)
    wrong = bool(rng.random() < 0.4)
    length = int(rng.integers(3, 12)) if steps is None else steps
    doubt = rng.gamma(3.0, 0.3, length) * (1.6 if wrong else 0.9) * doubtful
    surprisal = rng.gamma(2.0, 0.4, length) * (1.15 if wrong else 1.0) * doubtful
    top1 = np.clip(np.exp(-0.6 * doubt), 0.05, 0.99)
    run = make_run(length, entropy=doubt, surprisal=surprisal, margin=np.clip(2 * top1 - 1, 0, 1), top1_prob=top1)
    run.model = dataclasses.replace(run.model, name=model)
    run.prompt = Prompt(f"question {seed}", "text")
    run.start_ns, run.end_ns = 10**18 + seed * 10**9, 10**18 + seed * 10**9 + 5
    return run, wrong


def store_labelled(file: Path, answers: Sequence[tuple[Run, bool | None]]) -> None:
    """Put runs into a store, judged and reported as CoreVital does, and label those whose truth is given."""
    telemetry = InMemoryTelemetry()
    for run, _ in answers:
        report(telemetry, run)
    spans, logs = SQLiteSpanExporter(str(file)), SQLiteLogExporter(str(file))
    spans.export(telemetry.spans)
    logs.export(telemetry.log_exporter.get_finished_logs())
    for exporter in (spans, logs):
        exporter.shutdown()
        assert exporter.last_error is None
    truths = {run.start_ns: wrong for run, wrong in answers}
    with open_store(file) as store:
        for summary in store.runs(limit=None):
            wrong = truths.get(summary.start_ns)
            if wrong is not None:
                store.set_label(summary, "incorrect" if wrong else "correct")
