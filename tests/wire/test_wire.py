"""Over the wire: OTLP through the bundled Collector configuration, and a run read back from Jaeger."""

import base64
import json
import math
import subprocess
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

from opentelemetry_instrumentation_corevital._internal.npz import from_npz
from tests.support.processes import (
    COLLECTOR_CONFIG,
    collector_environment,
    get_json,
    jaeger_server,
    process,
    wait_until,
)
from tests.support.recording import recording
from tests.support.tiny_models import prompt, tiny_model

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]


def test_the_bundled_collector_configuration_is_valid(otelcol: str) -> None:
    found = subprocess.run(
        [otelcol, "validate", "--config", str(COLLECTOR_CONFIG)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_runs_pass_a_collector_intact(otelcol: str, transport: str, tmp_path: Path) -> None:
    overlay = {
        "exporters": {"file": {"path": str(tmp_path / "received.jsonl"), "flush_interval": "100ms"}},
        "service": {
            "pipelines": {signal: {"exporters": ["file"]} for signal in ("traces", "metrics", "logs")},
        },
    }
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    environment = collector_environment(tmp_path / "state")
    grpc, http = (environment[f"COREVITAL_COLLECTOR_{protocol}"] for protocol in ("GRPC", "HTTP"))
    command = [otelcol, "--config", str(COLLECTOR_CONFIG), "--config", str(tmp_path / "overlay.yaml")]
    with process(command, tmp_path / "collector.log", environment):
        wait_until(lambda: get_json(f"http://{environment['COREVITAL_COLLECTOR_HEALTH']}"))
        url = f"http://{http}/v1"
        exporter: Any = HttpExporter(endpoint=f"{url}/traces")
        logs: Any = OTLPLogExporter(endpoint=f"{url}/logs")
        metrics: Any = OTLPMetricExporter(endpoint=f"{url}/metrics")
        if transport == "grpc":
            to: Any = {"endpoint": grpc, "insecure": True}
            exporter, logs, metrics = GrpcExporter(**to), GrpcLogExporter(**to), GrpcMetricExporter(**to)
        model = tiny_model()
        with recording(exporter, "wire", logs, metrics) as recorded:
            for _ in range(3):
                model.generate(prompt(), max_new_tokens=40, do_sample=True)
            model.generate(prompt(batch=2), max_new_tokens=10, do_sample=True)
        sent = {span.context.span_id: span for span in recorded.spans if span.context}
        lines = wait_until(lambda: received(tmp_path / "received.jsonl", len(sent)))
    spans = list(of_kind(lines, "resourceSpans", "scopeSpans", "spans"))
    assert len(spans) == len(sent) == 6
    for span in spans:
        original = sent[int(span["spanId"], 16)]
        assert read(span["attributes"]) == as_lists(original.attributes)
        events = [(event["name"], read(event["attributes"])) for event in span.get("events", ())]
        assert events == [(event.name, as_lists(event.attributes)) for event in original.events]
    records = list(of_kind(lines, "resourceLogs", "scopeLogs", "logRecords"))
    assert sorted((record["eventName"], record["spanId"], str(read(record["attributes"]))) for record in records) == (
        sorted((log.event_name, f"{log.span_id:016x}", str(as_lists(log.attributes))) for log in recorded.logs)
    )
    verdicts = [record for record in records if record["eventName"] == "gen_ai.evaluation.result"]
    assert len(verdicts) == 5
    data = run_data(record for record in records if record["eventName"] == "corevital.run.data")
    assert len(data) == 5
    for span_id, columns in data.items():
        attributes = sent[int(span_id, 16)].attributes or {}
        assert len(columns["entropy"]) == attributes["corevital.steps.total"]
        norms = columns["hidden_l2_norm"].astype(np.float64).mean(0)
        assert norms.tolist() == pytest.approx(list(attributes["corevital.layers.l2_norm"]), rel=1e-5)  # type: ignore[arg-type]
    (exported, *_) = [line for line in lines if "resourceMetrics" in line]  # what follows was exported at the end
    metrics = {m["name"]: m for m in of_kind([exported], "resourceMetrics", "scopeMetrics", "metrics")}
    assert (
        metrics.keys() == {metric.name for metric in recorded.metrics} >= {"corevital.runs", "corevital.layer.l2_norm"}
    )
    for metric in recorded.metrics:
        found = metrics[metric.name]
        assert (found.get("unit", ""), found["description"]) == (metric.unit, metric.description)
        points = [(read(each["attributes"]), point(each)) for each in received_points(found)]
        kept = [(as_lists(each.attributes), value_or_sum(each)) for each in metric.data.data_points]
        assert sorted(map(repr, points)) == sorted(map(repr, kept)), metric.name


def received_points(metric: dict[str, Any]) -> list[dict[str, Any]]:
    (data,) = (metric[kind] for kind in ("gauge", "sum", "histogram") if kind in metric)
    points: list[dict[str, Any]] = data["dataPoints"]
    return points


def point(found: dict[str, Any]) -> tuple[float, int]:
    """Return the value of a point of OTLP JSON and 0, of a histogram's its sum and count."""
    return float(next(found[name] for name in ("sum", "asDouble", "asInt") if name in found)), int(
        found.get("count", 0)
    )


def value_or_sum(sent: Any) -> tuple[float, int]:
    """Return the same of the SDK's point."""
    return (float(sent.sum), sent.count) if hasattr(sent, "sum") else (float(sent.value), 0)


def read(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return attributes of OTLP JSON as Python values, by name."""
    return {item["key"]: plain(item["value"]) for item in sorted(attributes, key=lambda item: str(item["key"]))}


def as_lists(attributes: Any) -> dict[str, Any]:
    """Return attributes by name, with lists for tuples."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in sorted((attributes or {}).items())}


def run_data(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each span's columns from its log records as OTLP JSON has them."""
    chunks: dict[str, dict[int, bytes]] = {}
    for record in records:
        attributes = read(record["attributes"])
        index = attributes["corevital.run.data.chunk.index"]
        chunks.setdefault(record["spanId"], {})[index] = base64.b64decode(record["body"]["bytesValue"])
    return {span: from_npz(b"".join(parts[index] for index in sorted(parts))) for span, parts in chunks.items()}


def received(path: Path, spans: int) -> list[dict[str, Any]] | None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    complete = len(list(of_kind(lines, "resourceSpans", "scopeSpans", "spans"))) >= spans
    signals = {key for line in lines for key in line}
    return lines if complete and signals >= {"resourceSpans", "resourceLogs", "resourceMetrics"} else None


def of_kind(lines: list[dict[str, Any]], *path: str) -> Iterator[dict[str, Any]]:
    outer, scope, item = path
    for line in lines:
        for resource in line.get(outer, ()):
            for scoped in resource[scope]:
                yield from scoped[item]


def plain(value: dict[str, Any]) -> Any:
    """Return the Python value of an OTLP JSON value."""
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [plain(item) for item in content.get("values", ())]
    return int(content) if kind == "intValue" else float(content) if kind == "doubleValue" else content


def test_a_run_is_read_back_from_jaeger(jaeger: str, tmp_path: Path) -> None:
    with jaeger_server(jaeger, tmp_path / "jaeger.log") as server:
        model, broken, torn = tiny_model(), tiny_model(seed=2), tiny_model(seed=4, num_hidden_layers=6)
        broken.lm_head.register_forward_hook(lambda module, inputs, output: output * math.nan)
        torn.model.layers[3].register_forward_hook(lambda module, inputs, output: output * math.nan)
        with recording(HttpExporter(endpoint=f"{server.http}/v1/traces"), "jaeger-test") as recorded:
            model.generate(prompt(), max_new_tokens=30, do_sample=False)
        with recording(GrpcExporter(endpoint=server.grpc, insecure=True), "jaeger-test"):
            broken.generate(prompt(), max_new_tokens=5, do_sample=False)
            torn.generate(prompt(), max_new_tokens=7, do_sample=False)
        url = f"{server.query}/api/traces?{urllib.parse.urlencode({'service': 'jaeger-test'})}"
        traces = wait_until(lambda: (found := get_json(url)["data"]) and len(found) == 3 and found)
    (span,) = [s for trace in traces for s in trace["spans"] if len(s["logs"]) == 30]
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    (original,) = recorded.spans
    attributes = original.attributes or {}
    assert tags["corevital.risk.score"] == attributes["corevital.risk.score"]
    assert tags["corevital.narrative"] == attributes["corevital.narrative"]
    assert json.loads(tags["corevital.series.entropy"]) == list(attributes["corevital.series.entropy"])  # type: ignore[arg-type]
    fields = {field["key"]: field["value"] for field in span["logs"][3]["fields"]}
    assert fields["event"] == "corevital.step"
    assert fields["corevital.step.index"] == 3
    # Arrays with holes: layers that are not finite are left out, and another array says which layers are in.
    (torn_span,) = [s for trace in traces for s in trace["spans"] if len(s["logs"]) == 7]
    tags = {tag["key"]: tag["value"] for tag in torn_span["tags"]}
    norms, layers = (json.loads(tags[f"corevital.layers.{name}"]) for name in ("l2_norm", "norm_index"))
    assert layers == [0, 1, 2]
    assert len(norms) == 3
    assert json.loads(tags["corevital.layers.nonfinite"])[3] > 0
    assert tags["corevital.health.nan_detected"] is True
    assert json.loads(tags["corevital.blame.layers"])[0] == 3
