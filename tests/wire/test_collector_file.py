"""What a real Collector's file exporter has written goes into the store as it was."""

import json
from pathlib import Path

import pytest
import yaml
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, open_store
from tests.support.in_memory import instrumented
from tests.support.processes import free_port, listening, process, wait_until
from tests.support.spans import make_call
from tests.support.tiny_models import prompt, sharpen, tiny_model


@pytest.mark.wire
def test_a_file_of_the_collector_becomes_the_same_runs(
    tmp_path: Path, otelcol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port, received = free_port(), tmp_path / "received.jsonl"
    pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
    configuration = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"file": {"path": str(received), "flush_interval": "100ms"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": pipeline, "logs": pipeline},
        },
    }
    (tmp_path / "collector.yaml").write_text(yaml.safe_dump(configuration))
    with instrumented(capture="full") as telemetry:
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=12, do_sample=False, eos_token_id=None)
    spans, logs = [*telemetry.spans, *make_call(2)], telemetry.log_exporter.get_finished_logs()
    direct = tmp_path / "direct.db"
    for store, items in ((SQLiteSpanExporter(direct), spans), (SQLiteLogExporter(direct), logs)):
        store.export(items)  # type: ignore[arg-type]
        store.shutdown()
    with process([otelcol, "--config", str(tmp_path / "collector.yaml")], tmp_path / "collector.log", {}):
        wait_until(lambda: listening(port))
        OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces").export(spans)
        OTLPLogExporter(endpoint=f"http://127.0.0.1:{port}/v1/logs").export(logs)
        wait_until(lambda: received.exists() and len(received.read_text().splitlines()) >= 2)
    assert run_command(["import", str(received), "--db", str(tmp_path / "copy.db"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    with open_store(direct) as first, open_store(tmp_path / "copy.db") as second:
        assert second.runs() == first.runs()
        for run in first.runs():
            assert second.load(run) == first.load(run)
        (with_data,) = [run for run in first.runs() if first.run_data(run)]
        assert second.load(with_data).columns["hidden_l2_norm"].shape == (12, 2)
