"""An ordinary program under `opentelemetry-instrument`: every exporter, every signal, one and several at once."""

import sqlite3
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.otlp_receivers import Received, grpc_receiver, http_receiver
from tests.support.subprocesses import exporting, json_objects, run
from tests.support.tiers import heavy
from tests.support.zero_code_programs import attributes_of, program

METRICS = {"corevital.runs", "corevital.run.risk_score", "corevital.step.entropy", "gen_ai.client.operation.duration"}


def assert_all_received(received: Received) -> None:
    """Two runs, the second below the program's own span, with verdict, metrics and events."""
    runs = [span for span in received.spans() if span.name.startswith("text_completion ")]
    (request,) = [span for span in received.spans() if span.name == "request"]
    assert len(runs) == 2
    assert [run.parent_span_id for run in runs] == [b"", request.span_id]
    assert runs[1].trace_id == request.trace_id
    for found in runs:
        attributes = attributes_of(found)
        assert attributes["corevital.capture.mode"].string_value == "full"
        assert attributes["corevital.risk.level"].string_value == "low"
        assert attributes["corevital.steps.recorded"].int_value == len(found.events) == 4
    assert received.metric_names() >= METRICS
    assert received.event_names().count("gen_ai.evaluation.result") == 2
    assert received.event_names().count("corevital.run.data") == 2


def test_several_exporters_at_once_over_http(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    names = "otlp,console,corevital_sqlite"
    with http_receiver() as received:
        found = run(
            [*exporting(names, names, names), *program("tiny")],
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_COREVITAL_SQLITE_PATH=str(database),
            OTEL_COREVITAL_CAPTURE="full",
        )
    assert_all_received(received)
    printed = json_objects(found.stdout)
    assert len([item for item in printed if "corevital.risk.score" in item.get("attributes", {})]) >= 2
    assert "corevital.step.entropy" in found.stdout
    assert "gen_ai.evaluation.result" in found.stdout
    with open_store(database) as store:
        stored = store.runs()
        assert len(stored) == 2
        assert all("hidden_l2_norm" in store.load(item).columns for item in stored)
    with sqlite3.connect(database) as connection:
        kept = {name for (name,) in connection.execute("SELECT name FROM metrics")}
    assert kept >= METRICS


def test_the_console_alone_prints_every_signal() -> None:
    found = run([*exporting("console", "console", "console"), *program("tiny")])
    printed = json_objects(found.stdout)
    spans = [item for item in printed if "corevital.risk.score" in item.get("attributes", {})]
    assert len([span for span in spans if span.get("events")]) == 2
    assert len([item for item in printed if item.get("event_name") == "gen_ai.evaluation.result"]) == 2
    metrics = {
        metric["name"]
        for item in printed
        for resource in item.get("resource_metrics", ())
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    assert metrics >= METRICS


def test_the_store_alone_takes_every_signal(tmp_path: Path) -> None:
    database, name = tmp_path / "runs.db", "corevital_sqlite"
    run([*exporting(name, name, name), *program("tiny")], OTEL_COREVITAL_SQLITE_PATH=str(database))
    with open_store(database) as store:
        assert len(store.runs()) == 2
    with sqlite3.connect(database) as connection:
        kept = {name for (name,) in connection.execute("SELECT name FROM metrics")}
        events = [name for (name,) in connection.execute("SELECT event_name FROM logs")]
    assert kept >= METRICS
    assert events.count("gen_ai.evaluation.result") == 2


def test_the_default_protocol_is_grpc_and_carries_every_signal() -> None:
    with grpc_receiver() as received:
        run(
            [*exporting("otlp", "otlp", "otlp"), *program("tiny")],
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_COREVITAL_CAPTURE="full",
        )
    assert_all_received(received)


@pytest.mark.parametrize("signal", ["traces", heavy("metrics"), heavy("logs")])
def test_one_signal_alone(signal: str) -> None:
    chosen = {name: "otlp" if name == signal else "none" for name in ("traces", "metrics", "logs")}
    with http_receiver() as received:
        run(
            [*exporting(**chosen), *program("tiny")],
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
        )
    assert {kind for kind, _ in received.messages} == {signal.removesuffix("s") if signal == "traces" else signal}
    if signal == "metrics":
        assert received.metric_names() >= METRICS
    elif signal == "logs":
        assert received.event_names().count("gen_ai.evaluation.result") == 2
    else:
        assert len(received.spans()) == 3
