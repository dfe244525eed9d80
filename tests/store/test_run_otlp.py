"""The OTLP messages of one run of a call with several."""

from pathlib import Path

from google.protobuf.json_format import MessageToDict

from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoreWriter, open_store
from opentelemetry_instrumentation_corevital.store.run_data_rows import whole_run_data
from opentelemetry_instrumentation_corevital.store.run_otlp import otlp_of_run
from tests.support.made_runs import make_run
from tests.support.spans import make_spans


def test_the_messages_are_about_one_span(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    exporter = SQLiteSpanExporter(str(path))
    exporter.export(make_spans(3))
    exporter.shutdown()
    with open_store(path) as store:
        runs = store.runs(limit=None)
    writer = StoreWriter(path)
    data = to_npz(run_columns(make_run(5), content=False))
    writer.store([whole_run_data(run.trace_id, run.span_id, data) for run in runs], timeout=60)
    writer.close()
    with open_store(path) as store:
        for run in runs:
            found = [MessageToDict(message) for message in otlp_of_run(store, run)]
            assert sorted(name for each in found for name in each) == ["resourceLogs", "resourceSpans"]
