"""A real Collector sends what it gets to `corevital collect`, with a token, over TLS, by both of its OTLP exporters."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, open_store
from tests.support.collect_process import collecting
from tests.support.in_memory import instrumented
from tests.support.processes import free_port, listening, process, wait_until
from tests.support.spans import make_call
from tests.support.store_contents import contents
from tests.support.tiny_models import prompt, sharpen, tiny_model


@pytest.mark.wire
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_with_a_token_sends_over_tls(
    tmp_path: Path, otelcol: str, certificate: tuple[Path, Path], protocol: str
) -> None:
    with instrumented(capture="full") as telemetry:
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=40, do_sample=False, eos_token_id=None)
    spans, logs = [*telemetry.spans, *make_call(2)], telemetry.log_exporter.get_finished_logs()
    direct = tmp_path / "direct.db"
    for store, items in ((SQLiteSpanExporter(direct), spans), (SQLiteLogExporter(direct), logs)):
        store.export(items)  # type: ignore[arg-type]
        store.shutdown()
    options = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]), "--token", "s3cret")
    with collecting(tmp_path, *options) as receiver:
        port = free_port()
        (tmp_path / "collector.yaml").write_text(
            yaml.safe_dump(configuration(port, protocol, getattr(receiver, protocol), certificate[0]))
        )
        with process([otelcol, "--config", str(tmp_path / "collector.yaml")], tmp_path / "collector.log", {}):
            wait_until(lambda: listening(port))
            url = f"http://127.0.0.1:{port}/v1"
            assert OTLPSpanExporter(f"{url}/traces").export(spans).name == "SUCCESS"
            assert OTLPLogExporter(f"{url}/logs").export(logs).name == "SUCCESS"
            metrics = telemetry.reader.get_metrics_data()
            assert metrics is not None
            assert OTLPMetricExporter(f"{url}/metrics").export(metrics).name == "SUCCESS"
            wait_until(lambda: all(len(contents(receiver.db, each)) >= 1 for each in ("runs", "run_data", "metrics")))
        assert receiver.stop() == 0
    with open_store(direct) as first, open_store(receiver.db) as second:
        assert len(first.runs()) == 3
        assert second.runs() == first.runs()
        for run in first.runs():
            assert second.load(run) == first.load(run)


def configuration(port: int, protocol: str, target: int, certificate: Path) -> dict[str, Any]:
    """Return a Collector's configuration; OTLP over HTTP in, over either protocol out."""
    name = "otlp_http" if protocol == "http" else "otlp_grpc"
    pipeline = {"receivers": ["otlp"], "exporters": [name]}
    return {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {
            name: {
                "endpoint": f"https://127.0.0.1:{target}",
                "tls": {"ca_file": str(certificate)},
                "headers": {"authorization": "Bearer s3cret"},
            }
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": pipeline, "metrics": pipeline, "logs": pipeline},
        },
    }
