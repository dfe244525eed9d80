"""What the SDK's limits drop or cut off is unknown to every command: never none, never 0, never an internal error."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.presentation.notebook_style import STYLE
from opentelemetry_instrumentation_corevital.presentation.panel import CUT
from opentelemetry_instrumentation_corevital.presentation.shapes import UNKNOWN
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, StoredRun, open_store
from tests.support.command_line import Cli
from tests.support.in_memory import Telemetry, instrumented
from tests.support.spans import make_spans
from tests.support.tiny_models import prompt, tiny_model

COMMANDS = (
    ("runs",),
    ("runs", "--json"),
    ("runs", "--csv"),
    ("show", "last"),
    ("show", "last", "--steps"),
    ("show", "last", "--layers"),
    ("show", "last", "--json", "--layers"),
    ("show", "last", "--csv"),
    ("show", "last", "--csv", "--layers"),
    ("show", "last", "--html", "page.html"),
    ("compare",),
    ("compare", "--csv"),
    ("compare", "last", "last"),
    ("compare", "last", "last", "--json"),
    ("export", "last"),
    ("export", "--format", "csv"),
    ("export", "--format", "otlp"),
)


def recorded(cli: Cli, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch, **options: Any) -> StoredRun:
    """Store two runs, the last one failed, made under these limits; return the first one."""
    for name, value in limits.items():
        monkeypatch.setenv(name, str(value))
    spans, logs = SQLiteSpanExporter(cli.db), SQLiteLogExporter(cli.db)
    model = tiny_model(scale=1.0)  # high entropy: a risk with a factor
    with instrumented(
        Telemetry(), **{"capture": "full", "capture_message_content": "span_only", **options}
    ) as telemetry:
        model.generate(prompt(), max_new_tokens=40, do_sample=False, eos_token_id=None)
        with pytest.raises(ZeroDivisionError):
            model.generate(prompt(), max_new_tokens=30, logits_processor=[_fails_late])
    spans.export(telemetry.spans)
    logs.export(telemetry.log_exporter.get_finished_logs())
    for exporter in (spans, logs):
        exporter.shutdown()
    with open_store(cli.db) as store:
        return store.load(store.runs()[-1])


def _fails_late(ids: Any, scores: Any) -> Any:
    return scores if ids.shape[1] < 30 else 1 / 0


def lines_of(text: str) -> dict[str, str]:
    """Return the panel's lines by name."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.startswith("│"):
            continue
        begin, rest = line.strip("│ ").partition("  ")[::2] if line[2] != " " else ("", line.strip("│ "))
        name = begin or name
        found[name] = f"{found.get(name, '')} {rest.strip()}".strip()
    return found


@pytest.mark.parametrize(
    ("name", "value", "run_data"),
    [
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", 48, "on"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", 5, "off"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 20, "off"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 70, "on"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 5, "on"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", 8, "off"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", 1, "off"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", 8, "off"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", 1, "off"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", 4, "on"),
    ],
)
def test_every_command_works_and_calls_nothing_none_that_was_dropped(
    name: str, value: int, run_data: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = recorded(cli, {name: value}, monkeypatch, run_data=run_data)
    for command in COMMANDS:
        code, out, err = cli(*command)
        assert code == 0, (command, err)
        assert not err or command[0] == "export" or err.startswith("read from "), (command, err)
        assert out
    shown = f"{run.summary.trace_id}:0"
    lines = lines_of(cli("show", shown)[1])
    attributes = run.attributes
    for line, attribute in {
        "factors": semconv.RISK_FACTORS,
        "warnings": semconv.WARNINGS,
        "blame": semconv.BLAME_LAYERS,
    }.items():
        if attribute not in attributes:
            assert UNKNOWN in lines[line].replace("\u2019", "'"), line
    assert ("dropped" in lines) is any(run.dropped)
    if not run.summary.judged:
        assert "none" not in lines["flags"]
    report = json.loads(cli("export", shown)[1])
    assert ("risk_factors" in report["extensions"].get("risk", {})) is (semconv.RISK_FACTORS in attributes)
    if run_data == "off":
        steps = [int(event.attributes[semconv.STEP_INDEX]) for event in run.steps]
        assert [each["step_index"] - (run.summary.input_tokens or 0) for each in report["timeline"]] == steps
    elif name != "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" or value >= 64:  # below, the digest is cut
        assert run.data is not None, "the log events kept what joins them"
        assert len(run.columns["entropy"]) == 40
    assert attributes.get(semconv.STEPS_RECORDED, len(run.steps)) == len(run.steps)
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")


def test_what_was_cut_off_is_said_to_be(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = recorded(cli, {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": 70}, monkeypatch, layers="0")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(run.attributes[semconv.CAPTURE_ABSENT])
    out = " ".join(cli("show", f"{run.summary.trace_id}:0")[1].replace("│", " ").split())
    assert f"not there not known: the list of it is {CUT}" in out.replace("\u2019", "'")


def test_evidence_that_was_cut_off_is_not_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    cut = {semconv.HEALTH_EVIDENCE: '{"repetition_loop_detected":{"st', semconv.GEN_AI_OUTPUT_MESSAGES: '[{"role":"a'}
    signals = {semconv.EARLY_WARNING_SIGNALS: ["norm_jump"], semconv.EARLY_WARNING_EVIDENCE: '{"norm_jump"'}
    cli.store(make_spans(**cut, **signals))  # type: ignore[arg-type]
    out = " ".join(cli("show", "last")[1].replace("│", " ").split())
    for what in ("repetition loop: ", "norm jump (", "answer: "):
        assert f"{what}{CUT}" in out.replace("\u2019", "'"), what


def test_the_last_and_most_needed_survive(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(cli, {"OTEL_ATTRIBUTE_COUNT_LIMIT": 20}, monkeypatch)
    with open_store(cli.db) as store:
        failed, whole = store.runs()
    assert (failed.error_type, failed.finish_reason) == ("ZeroDivisionError", "error")
    assert (whole.input_tokens, whole.output_tokens, whole.finish_reason) == (6, 40, "length")
    assert whole.warnings is not None
    assert whole.risk_score is not None
    assert whole.judged


def test_an_exception_that_takes_a_steps_place_is_counted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(cli, {"OTEL_SPAN_EVENT_COUNT_LIMIT": 8}, monkeypatch)
    with open_store(cli.db) as store:
        failed, whole = (store.load(run) for run in store.runs())
    assert len(failed.steps) == failed.attributes[semconv.STEPS_RECORDED] == 7
    assert len(whole.steps) == whole.attributes[semconv.STEPS_RECORDED] == 8
    assert whole.dropped.events == 32


def test_steps_of_others_without_an_index_are_left_out(cli: Cli) -> None:
    """As a Collector's processor, or an earlier version under a limit, leaves them."""
    cli.store(make_spans(events=3))
    with closing(sqlite3.connect(cli.db)) as connection, connection:
        sql = "UPDATE span_events SET attributes = ? WHERE seq = ?"
        connection.execute(sql, (json.dumps({semconv.STEP_ENTROPY: 1.0}), 0))
        connection.execute(sql, (json.dumps({semconv.STEP_ENTROPY: "high", semconv.STEP_INDEX: "one"}), 1))
    for command in COMMANDS:
        code, _, err = cli(*command)
        assert code == 0, (command, err)
    assert [each["step_index"] for each in json.loads(cli("export", "last")[1])["timeline"]] == [5 + 2]


def test_a_notebook_says_what_is_not_known(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    run = recorded(cli, {"OTEL_ATTRIBUTE_COUNT_LIMIT": 5}, monkeypatch)
    assert run.summary.warnings is None
    assert not run.summary.judged
    html = run._repr_html_().replace(STYLE, "").replace('preserveAspectRatio="none"', "")
    assert "none" not in html.lower()
    assert html.count("not known: dropped") >= 3
    assert "unknown</td>" in run.summary._repr_html_()
    assert "None" not in repr(run)
    listed = cli("runs")[1]
    assert "unknown" in listed
    assert json.loads(cli("runs", "--json")[1])[0]["warnings"] is None


def test_the_command_that_makes_a_run_says_so_too(cli: Cli, tiny_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "48")
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = cli("run", "--model", tiny_folder, "--prompt", "w1 w2", "--max-new-tokens", "12", "--raw")
    assert code == 0, err
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in out
    assert "warnings     none" not in out
