"""A verdict that is declared and defined is everywhere, and no other file needs to know of it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.catalogue_additions import NEXT, program
from tests.support.spans import make_spans
from tests.support.subprocesses import ROOT

ATTRIBUTE = "corevital.health.toy_detected"


@pytest.fixture(scope="module")
def found(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the program finds, whose store CoreVital without the flag has begun."""
    store = tmp_path_factory.mktemp("store") / "runs.db"
    exporter = SQLiteSpanExporter(store)
    exporter.export(make_spans(1, **{ATTRIBUTE: True}) + make_spans(1, **{ATTRIBUTE: "yes"}))
    exporter.shutdown()
    said: dict[str, Any] = json.loads(program(tree, "toy_verdicts.py", str(store)))
    return said


def test_the_run_is_judged(found: dict[str, Any]) -> None:
    raised, flags, unmeasured = found["health"]
    assert raised is True
    assert list(flags)[-1] == "toy_detected"
    assert unmeasured is None
    assert found["absent"] == "the layers were not measured"
    assert found["factors"] == [["toy_detected", 0.6]]
    assert "A toy lay in layer 2." in found["narrative"]


def test_every_carrier_has_it(found: dict[str, Any]) -> None:
    assert found["attribute"] == [True, None]
    assert found["logs"]
    assert set(found["logs"]) == {True}
    assert found["vocabulary"] == ATTRIBUTE


def test_the_store_has_a_column_and_a_store_of_before_opens(found: dict[str, Any]) -> None:
    version, every, flags, listed, index = found["store"]
    assert version == NEXT
    assert sorted(every, key=str) == [None, None, True, True], "that of a span from before is filled in; text is not"
    assert "toy_detected" in flags
    assert listed is True
    assert index
    assert "all is well" in found["check"]


def test_commands_filter_and_show_it(found: dict[str, Any]) -> None:
    runs = json.loads(found["runs"])
    assert [row["toy_detected"] for row in runs] == [True, True]
    header, *rows = found["csv"].splitlines()
    assert "toy_detected" in header.split(",")
    assert len(rows) == 2
    assert "toy: layer 2" in found["show"]
    assert found["report"] == [True, ["toy"]]


def test_pages_and_schema_have_it(found: dict[str, Any]) -> None:
    assert f"| `{ATTRIBUTE}` | boolean |  | there was a toy |" in found["attributes.md"]
    page = found["judgement.md"]
    assert "### `toy_detected`\n\n| | |\n|---|---|\n| definition | a toy, at 1.8 |" in page
    assert "0.6 for `toy_detected`" in page
    in_summary, required, attribute = found["schema"]
    assert in_summary == {"type": ["boolean", "null"]}
    assert [name for name in required if name.startswith("toy")] == ["toy_detected", "toys"]
    assert attribute == {"type": "boolean"}
    assert ATTRIBUTE in found["names"]


def test_a_compound_signal_is_a_warning_with_evidence_and_an_entry(found: dict[str, Any]) -> None:
    warnings, signals, evidence = found["heap"]
    assert warnings[-1] == "toy_heap"
    assert signals == ["toy_heap"]
    assert json.loads(evidence) == {"toy_heap": {"toys": 3}}
    assert "### `toy_heap`" in found["judgement.md"]


def test_an_early_warning_is_a_warning_with_evidence_a_sentence_and_an_entry(found: dict[str, Any]) -> None:
    evidence, narrative = found["coming"]
    assert evidence == {"step": 30, "toys": 1}
    assert "The first warning came at step 30: a toy came." in narrative
    assert "toy_coming" in found["heap"][0]
    assert "### `toy_coming`" in found["judgement.md"]


def test_an_attribute_is_carried_as_it_says(found: dict[str, Any]) -> None:
    on_span, on_logs, stored, in_schema = found["toys"]
    assert on_span == stored == 0.3
    assert set(on_logs) == {0.3}
    assert in_schema == {"type": ["number", "null"]}
    assert "| `corevital.risk.toys` | double | `1` | toys for each layer |" in found["attributes.md"]


GENERATED = {
    "risk-sampling.yaml": [
        f'        or span.attributes["{ATTRIBUTE}"] == true',
        f'        or log.attributes["{ATTRIBUTE}"] == true',
        f'      - span.attributes["{ATTRIBUTE}"] == true',
        f'      - log.attributes["{ATTRIBUTE}"] == true',
    ],
    "langfuse.yaml": [
        '      - append(span.attributes["langfuse.observation.metadata.corevital_flags"], "toy_detected") '
        f'where span.attributes["{ATTRIBUTE}"] == true'
    ],
    "prometheus-spans.yaml": [
        '      - copy_metric(name="toy_detected") where metric.name == "corevital.runs"',
        f'      - metric.name == "toy_detected" and datapoint.attributes["{ATTRIBUTE}"] != true',
        f"      - name: {ATTRIBUTE}",
    ],
}


@pytest.mark.parametrize("name", GENERATED)
def test_the_collectors_files_have_it_and_differ_in_nothing_else(name: str, tree: Path) -> None:
    made = (tree / "collector" / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in made if "toy" in line] == GENERATED[name]
    shipped = (ROOT / "collector" / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in made if "toy" not in line] == shipped


def test_clickhouse_has_it_and_alerts_stay(tree: Path) -> None:
    sql = (tree / "collector" / "clickhouse.sql").read_text(encoding="utf-8")
    assert "'layer_anomaly_detected', 'toy_detected']" in sql
    assert "toFloat64OrNull(SpanAttributes['corevital.risk.toys']) AS Toys," in sql
    for path in ("alerts/corevital.rules.yaml", "grafana/corevital.json"):
        made = (tree / "collector" / path).read_text(encoding="utf-8")
        assert made == (ROOT / "collector" / path).read_text(encoding="utf-8"), "its toy is about layers, not numbers"


@pytest.mark.wire
@pytest.mark.xdist_group("wire")
@pytest.mark.parametrize("name", GENERATED)
def test_a_real_collector_takes_the_files(name: str, otelcol: str, tree: Path) -> None:
    files = [ROOT / "collector-config.yaml", tree / "collector" / name]
    command = [otelcol, "validate", *(part for file in files for part in ("--config", str(file)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
