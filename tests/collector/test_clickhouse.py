"""The Collector's ClickHouse exporter fills the tables of collector/clickhouse.sql, and what they say can be asked."""

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from opentelemetry_instrumentation_corevital import semconv
from tests.support.collectors import FOLDER, collector, telemetry_of
from tests.support.environments import python_with
from tests.support.in_memory import instrumented
from tests.support.processes import free_port, listening, process, wait_until
from tests.support.tiny_models import prompt, sharpen, tiny_model

pytestmark = [pytest.mark.acceptance, pytest.mark.wire, pytest.mark.xdist_group("wire")]


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[str]:
    """The base URL of ClickHouse with the schema; it is a library here (chdb), behind a server of the tests."""
    python, port = python_with("chdb==4.4.0"), free_port()
    server = [str(python), str(Path(__file__).parent / "programs" / "clickhouse_server.py"), str(port)]
    with process([*server, str(FOLDER / "clickhouse.sql")], tmp_path / "clickhouse.log", {"TMPDIR": str(tmp_path)}):
        wait_until(lambda: listening(port), 60)
        yield f"http://127.0.0.1:{port}"


def ask(url: str, query: str) -> list[dict[str, Any]]:
    with urlopen(Request(f"{url}/?default_format=JSONEachRow", query.encode()), timeout=30) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def test_runs_in_clickhouse(otelcol: str, clickhouse: str, tmp_path: Path) -> None:
    with instrumented(capture="full") as kept:
        model, broken = sharpen(tiny_model()), tiny_model(seed=2)
        broken.lm_head.register_forward_hook(lambda module, inputs, output: output * math.nan)
        model.generate(prompt(batch=2), max_new_tokens=12, do_sample=True)
        broken.generate(prompt(), max_new_tokens=5, do_sample=False)
    telemetry = telemetry_of(kept)
    endpoint = {"COREVITAL_CLICKHOUSE_ENDPOINT": f"{clickhouse}?compress=none"}
    with collector(otelcol, tmp_path / "collector", "no-store", "clickhouse", **endpoint) as between:
        between.send(telemetry)
        wait_until(lambda: between.waiting() == 0)
    for query, number in {
        "SELECT count() c FROM otel.otel_traces": len(telemetry.spans),
        "SELECT count() c FROM otel.otel_logs": len(telemetry.logs),
        "SELECT uniq(TraceId) c FROM otel.otel_traces_trace_id_ts": 2,
        "SELECT sum(length(Events.Name)) c FROM otel.otel_traces": sum(len(span.events) for span in telemetry.spans),
    }.items():
        assert int(ask(clickhouse, query)[0]["c"]) == number, query
    found = {run["SpanId"]: run for run in ask(clickhouse, "SELECT * FROM otel.corevital_runs")}
    judged = [span for span in telemetry.spans if semconv.STEPS_TOTAL in span.attributes]
    assert found.keys() == {f"{span.context.span_id:016x}" for span in judged}
    assert len(judged) == 3
    for span in judged:
        run = found[f"{span.context.span_id:016x}"]
        assert run["RiskScore"] == span.attributes[semconv.RISK_SCORE]
        assert int(run["Steps"]) == span.attributes[semconv.STEPS_TOTAL]
        assert run["Warnings"] == list(span.attributes[semconv.WARNINGS])
        assert run["Narrative"] == span.attributes[semconv.NARRATIVE]
        assert run["Model"] == "LlamaForCausalLM"
    (broken_run,) = [run for run in found.values() if run["Flags"]]
    assert (broken_run["Flags"], broken_run["RiskScore"], broken_run["EntropyMean"]) == (["nan_detected"], 1.0, None)
    # Run data is base64 there.
    data = """
        SELECT SpanId, groupArray(Body) AS bodies, any(sha256) AS sha256
        FROM (
            SELECT SpanId, Body, LogAttributes['corevital.run.data.sha256'] AS sha256
            FROM otel.otel_logs WHERE EventName = 'corevital.run.data'
            ORDER BY SpanId, toUInt32(LogAttributes['corevital.run.data.chunk.index'])
        )
        GROUP BY SpanId"""
    chunks = ask(clickhouse, data)
    assert len(chunks) == 3
    for each in chunks:
        assert hashlib.sha256(b"".join(map(base64.b64decode, each["bodies"]))).hexdigest() == each["sha256"]
    counted = ask(clickhouse, "SELECT sum(Value) AS n FROM otel.otel_metrics_sum WHERE MetricName = 'corevital.runs'")
    assert counted == [{"n": 3}]
    shapes = ask(
        clickhouse,
        "SELECT MetricName AS name FROM otel.otel_metrics_histogram UNION ALL"
        " SELECT MetricName FROM otel.otel_metrics_gauge",
    )
    assert {"corevital.step.entropy", "corevital.risk.score"} <= {row["name"] for row in shapes}
