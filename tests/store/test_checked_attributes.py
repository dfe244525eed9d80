"""What is declared of each name is what is read of it: own data pass unchanged, and the faults of others are told."""

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, StoreWriter, open_store
from opentelemetry_instrumentation_corevital.store.checked_attributes import Findings, checked_attributes, problem
from opentelemetry_instrumentation_corevital.store.otlp import key_values
from tests.support.collect_process import collecting
from tests.support.command_line import Cli
from tests.support.hostile_stores import attributes
from tests.support.in_memory import instrumented
from tests.support.legacy_reports import report, write_file
from tests.support.tiny_models import prompt, sharpen, tiny_model


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        (semconv.RISK_SCORE, 1.0001, None),  # rounding
        (semconv.RISK_SCORE, 1.1, "is 1.1; 1 is the most"),
        (semconv.RISK_SCORE, -0.1, "is -0.1; 0 is the least"),
        (semconv.RISK_SCORE, True, "is true or false, not a number"),
        (semconv.RISK_SCORE, 2**70, "is an integer beyond 64 bits"),
        (semconv.RISK_SCORE, float("nan"), "is not finite"),
        (semconv.STEPS_TOTAL, 2**18, None),
        (semconv.STEPS_TOTAL, 20_000_000, "is 2e+07; 262144 is the most"),
        (semconv.STEPS_TOTAL, 5.5, "is a number, not an integer"),
        (semconv.HEALTH_NAN, 1, "is a number, not true or false"),
        (semconv.WARNINGS, "x", "is a text, not a list"),
        (semconv.WARNINGS, ["x", 1], "item 1 is a number, not a text"),
        (semconv.SERIES_ENTROPY, [0.5, 65], "item 1 is 65; 64 is the most"),
        (semconv.GEN_AI_REQUEST_MODEL, "m" * 5000, "has 5000 characters; 4096 are the most"),
        (semconv.GEN_AI_INPUT_MESSAGES, "m" * 5_000_000, None),  # content has any length
    ],
)
def test_type_range_and_length(name: str, value: Any, why: str | None) -> None:
    assert problem(semconv.DEFINITIONS["attribute", name], value) == why


def test_a_content_is_never_told() -> None:
    findings = Findings()
    assert checked_attributes({semconv.GEN_AI_REQUEST_SEED: "a secret"}, findings) == {}
    assert "secret" not in str(findings.named)


def test_own_runs_pass_unchanged(cli: Cli) -> None:
    with instrumented(capture="full", capture_message_content="span_only") as telemetry:
        model = sharpen(tiny_model())
        model.generate(prompt(), max_new_tokens=24, do_sample=False, eos_token_id=None)
        model.generate(prompt(), max_new_tokens=8, do_sample=True, num_return_sequences=2, eos_token_id=None)
    cli.store(telemetry.spans)
    logs = SQLiteLogExporter(str(cli.db))
    logs.export(telemetry.log_exporter.get_finished_logs())
    logs.shutdown()
    with open_store(cli.db) as store:
        runs = [store.load(run) for run in store.runs(limit=None)]
    assert len(runs) == 3
    stored = {each.context.span_id: dict(each.attributes or {}) for each in telemetry.spans if each.context is not None}
    for run in runs:
        assert run.columns
        assert run.damage == {}
        sent = json.loads(json.dumps(stored[int(run.summary.span_id, 16)]))
        assert run.attributes == sent


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0"])
def test_migrated_reports_pass_unchanged(cli: Cli, tmp_path: Path, version: str) -> None:
    (tmp_path / "old").mkdir()
    write_file(tmp_path / "old", report(version=version))
    assert cli("migrate", "--from-dir", "old", "--to-db", str(cli.db), "--with-content")[0] == 0
    with open_store(cli.db) as store:
        run = store.run("last")
        assert run.columns
        assert run.report is not None
        assert run.damage == {}


def test_a_sender_is_told_and_the_rest_is_stored(tmp_path: Path) -> None:
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(name="run", start_time_unix_nano=1, end_time_unix_nano=2)
    )
    span.trace_id, span.span_id = b"\x01" * 16, b"\x02" * 8
    span.attributes.extend(key_values(attributes(**{semconv.RISK_SCORE: 1e308})))
    with collecting(tmp_path) as receiver:
        code, _, answer = receiver.post(request.SerializeToString())
        receiver.stop()
    assert code == 200
    assert b"corevital.risk.score is 1e+308; 1 is the most; it reads as absent." in answer
    with open_store(tmp_path / "collected.db") as store:
        run = store.run("last")
    assert run.summary.risk_score is None
    assert run.summary.risk_level == "low"


def test_an_import_names_it_by_line(cli: Cli, tmp_path: Path) -> None:
    from tests.support.hostile_stores import fill

    fill(tmp_path / "hostile.db", 3, ("risk of 1e308",))
    assert cli("export", "--format", "otlp", "--out", "all.json", "--db", "hostile.db")[0] == 0
    code, out, err = cli("import", "all.json", "--db", "copy.db")
    assert code == 1
    assert "3 new runs" in out
    assert ": corevital.risk.score is 1e+308; 1 is the most; it reads as absent." in err


def test_own_exports_are_not_refused(tmp_path: Path) -> None:
    from opentelemetry_instrumentation_corevital.store.span_rows import rows_of
    from tests.support.hostile_stores import span

    writer = StoreWriter(tmp_path / "runs.db")
    receipt = writer.store([rows_of(span(1, {}))], timeout=60)
    writer.close()
    assert receipt.durable
    assert receipt.notes == []
