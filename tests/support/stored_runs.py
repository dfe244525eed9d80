"""A run as a store gives it, with run data of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoredRun, open_store
from tests.support.made_runs import add_layers, make_run
from tests.support.spans import make_spans


def stored_with(folder: Path, run: Run | None = None, **changes: Any) -> StoredRun:
    """Store a span of three recorded steps with changed attributes; return it, with a run's data if one is given."""
    exporter = SQLiteSpanExporter(str(folder / "store.db"))
    exporter.export(make_spans(1, events=3, **changes))
    exporter.shutdown()
    with open_store(folder / "store.db") as store:
        found = store.run("last")
    return found if run is None else replace(found, data=to_npz(run_columns(run, content=True)))


def stored_with_layers(
    folder: Path, *, steps: int = 40, layers: int = 4, data: bool = True, **changes: Any
) -> StoredRun:
    """Store a run of so many steps and layers, with a NaN in layer 2 at step 7, or without run data."""
    run = stored_with(folder, **{semconv.STEPS_TOTAL: steps, **changes})
    if not data:
        return run
    columns = run_columns(add_layers(make_run(steps), layers), content=True)
    columns["hidden_nan"][7, 2] = 1
    columns["hidden_l2_norm"][7, 2] = np.nan
    return replace(run, data=to_npz(columns))
