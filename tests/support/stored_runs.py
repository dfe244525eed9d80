"""A run as a store gives it, with run data of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoredRun, open_store
from tests.support.spans import make_spans


def stored_with(folder: Path, run: Run | None = None, **changes: Any) -> StoredRun:
    """Store a span of three recorded steps with changed attributes; return it, with a run's data if one is given."""
    exporter = SQLiteSpanExporter(str(folder / "store.db"))
    exporter.export(make_spans(1, events=3, **changes))
    exporter.shutdown()
    with open_store(folder / "store.db") as store:
        found = store.run("last")
    return found if run is None else replace(found, data=to_npz(run_columns(run, content=True)))
