"""`runs`, `show`, `compare`, `export` and pages say how a run ended and what policies did to it."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue import intervention_names
from opentelemetry_instrumentation_corevital.presentation.interventions import intervention_lines
from opentelemetry_instrumentation_corevital.store.filters import STOP_REASONS
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.command_line import Cli
from tests.support.made_runs import ROLLED_BACK, STOPPED, intervened, make_run
from tests.support.reported_runs import report
from tests.support.spans import make_spans
from tests.support.subprocesses import ROOT

SCHEMA = ROOT / "docs" / "schemas" / f"run-{semconv.SCHEMA_VERSION}.json"


@pytest.fixture
def ended(cli: Cli) -> Cli:
    """A store with a run that a policy ended, one that it changed, and one that it let be, the newest first."""
    telemetry = InMemoryTelemetry()
    for start, run in enumerate((make_run(), intervened(ROLLED_BACK), intervened(ROLLED_BACK, STOPPED))):
        run.start_ns += start
        run.stop_reason = run.stop_reason or "eos"
        report(telemetry, run)
    cli.store(telemetry.spans)
    return cli


def listed(cli: Cli, *options: str) -> list[tuple[str | None, str | None]]:
    code, out, err = cli("runs", "--json", *options)
    assert code == 0, err
    return [(run["stop_reason"], run["intervention"]) for run in json.loads(out)]


def test_lists_say_how_runs_ended_and_choose_by_it(ended: Cli) -> None:
    assert listed(ended) == [("policy", "stop"), ("length", "roll_back"), ("eos", None)]
    assert listed(ended, "--stop-reason", "policy") == [("policy", "stop")]
    assert listed(ended, "--stop-reason", "time") == []
    assert listed(ended, "--intervened") == [("policy", "stop"), ("length", "roll_back")]
    assert listed(ended, "--intervened", "--stop-reason", "length") == [("length", "roll_back")]


def test_the_table_has_a_column_of_interventions_where_there_are_any(ended: Cli) -> None:
    _, out, _ = ended("runs")
    assert "intervention" in out.splitlines()[0]
    assert [word in out for word in ("policy", "roll_back", "eos")] == [True] * 3
    _, out, _ = ended("runs", "--stop-reason", "eos")
    assert "intervention" not in out.splitlines()[0]


@pytest.mark.parametrize("command", ["runs", "export"])
def test_a_reason_that_there_is_not_names_those_that_there_are(command: str, ended: Cli) -> None:
    code, out, err = ended(command, "--stop-reason", "bored")
    assert (code, out) == (1, "")
    assert f"unknown stop reason 'bored'; stop reasons are {', '.join(STOP_REASONS)}." in " ".join(err.split())


def test_evidence_is_in_words() -> None:
    evidence = {"period": 4, "exact": True, "settled": False, "changes": {"do_sample": True, "temperature": 1.0}}
    event = {semconv.INTERVENTION_KIND: "roll_back", intervention_names.EVIDENCE: json.dumps(evidence)}
    said = "roll back (period 4, exact, not settled, changes do_sample=True, temperature=1.0)"
    assert intervention_lines(event, ()) == [said]


def test_show_names_every_intervention_in_order(ended: Cli) -> None:
    _, out, _ = ended("show", "last")
    assert "40 generated, stop reason policy" in out
    text = " ".join(out.replace("│", " ").split())
    first = "step 20: roll back to step 12 by crop on repetition risk (period 4, temperature 0.9), continued"
    assert text.index(first) < text.index("step 30: stop on repetition loop (period 10, copies 2.5), stopped")
    assert "10 tokens left" in text
    assert "A policy stopped it at step 30: repetition loop." in text
    untouched = json.loads(ended("runs", "--json", "--stop-reason", "eos")[1])[0]["trace_id"]
    assert "interventions" not in ended("show", untouched)[1]


def test_exports_have_it(ended: Cli, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(ended("runs", "--csv")[1])))
    assert [(row["stop_reason"], row["intervention"]) for row in rows][:1] == [("policy", "stop")]
    exported = list(csv.DictReader(io.StringIO(ended("export", "--format", "csv", "--intervened")[1])))
    assert [row["intervention"] for row in exported] == ["stop", "roll_back"]
    shown = json.loads(ended("show", "last", "--json")[1])
    assert shown["attributes"][semconv.STOP_REASON] == shown["summary"]["stop_reason"] == "policy"
    assert [event["name"] for event in shown["events"]][-2:] == [intervention_names.EVENT] * 2
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(shown)
    ending = json.loads(ended("export", "last")[1])["extensions"]["ending"]
    assert ending == {
        "stop_reason": "policy",
        "interventions": [
            {
                "kind": "roll_back",
                "trigger": "repetition_risk",
                "step": 20,
                "outcome": "continued",
                "tokens_left": 20,
                "rollback_mode": "crop",
                "to_step": 12,
                "evidence": {"period": 4, "temperature": 0.9},
            },
            {
                "kind": "stop",
                "trigger": "repetition_loop_detected",
                "step": 30,
                "outcome": "stopped",
                "tokens_left": 10,
                "evidence": {"period": 10, "copies": 2.5},
            },
        ],
    }
    assert ended("export", "--format", "otlp", "--out", str(tmp_path / "o.json"))[0] == 0
    assert ended("import", str(tmp_path / "o.json"), "--db", str(tmp_path / "copy.db"))[0] == 0
    assert listed(ended, "--db", str(tmp_path / "copy.db")) == listed(ended)


def test_a_report_is_read_back_as_the_run_that_it_was(ended: Cli, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    assert ended("export", "last", "--out", str(tmp_path / "old" / "trace_1.json"))[0] == 0
    assert ended("migrate", "--from-dir", str(tmp_path / "old"), "--to-db", str(tmp_path / "copy.db"))[0] == 0
    assert listed(ended, "--db", str(tmp_path / "copy.db")) == [("policy", "stop")]
    again = json.loads(ended("export", "last", "--db", str(tmp_path / "copy.db"))[1])["extensions"]
    assert again["ending"] == json.loads(ended("export", "last")[1])["extensions"]["ending"]


def test_two_runs_side_by_side(ended: Cli) -> None:
    ids = [run["trace_id"] for run in json.loads(ended("runs", "--json")[1])]
    differences = json.loads(ended("compare", ids[0], ids[2], "--json")[1])["differences"]
    assert (differences["finish"]["first"], differences["finish"]["second"]) == ("policy", "eos")
    assert (differences["intervention"]["first"], differences["intervention"]["second"]) == ("stop", None)


def test_the_page_names_them_and_marks_their_steps(ended: Cli, tmp_path: Path) -> None:
    assert ended("show", "last", "--html", str(tmp_path / "run.html"))[0] == 0
    page = (tmp_path / "run.html").read_text()
    assert "What policies did" in page
    assert "ended by policy" in page
    assert '"name":"roll back"' in page or "roll back" in page


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (semconv.STOP_REASON, "x" * 5000),
        (semconv.STOP_REASON, 7),
        (semconv.STOP_REASON, ["policy"]),
        (semconv.INTERVENTION_KIND, "<script>" * 100),
        (semconv.INTERVENTION_KIND, 1.5),
        (semconv.INTERVENTION_STEP, -4),
        (semconv.INTERVENTION_TRIGGER, "x" * 500),
    ],
    ids=repr,
)
def test_what_cannot_be_so_is_left_out_and_named(attribute: str, value: Any, cli: Cli) -> None:
    cli.store(make_spans(1, **{attribute: value}))
    code, out, err = cli("show", "last", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert attribute not in shown["attributes"]
    assert attribute in shown["damage"]
    assert listed(cli) == [(None, None)]
    assert cli("show", "last")[0] == cli("runs")[0] == 0


def test_an_escape_sequence_in_a_word_steers_no_terminal(cli: Cli) -> None:
    cli.store(make_spans(1, **{semconv.STOP_REASON: "\x1b[31mpolicy", semconv.INTERVENTION_KIND: "\x1b]0;x\x07"}))
    for command in (("runs",), ("show", "last")):
        _, out, _ = cli(*command)
        assert "\x1b" not in out
        assert "\\x1b[31mpolicy" in out
