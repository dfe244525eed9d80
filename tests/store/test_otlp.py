"""OTLP as JSON lines: out of one store into another gives the same rows; what is broken is named by its line."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import (
    StoreError,
    StoreWriter,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.otlp_json import read_lines, split, to_line
from tests.support.store_contents import TABLES, contents, fill


def export_to(source: Path, target: Path) -> None:
    with open_store(source) as store, target.open("w") as file:
        for message in store.otlp(None):
            file.write(to_line(message) + "\n")


def import_from(path: Path, target: Path) -> list[str]:
    writer, problems = StoreWriter(target), []
    for line in read_lines(str(path)):
        records, lost = split(line.records)
        assert writer.store(records).durable
        problems += [f"{line.number}: {reason}" for reason in (line.problem, *(each.reason for each in lost)) if reason]
    writer.close()
    return problems


def test_what_is_exported_and_imported_is_the_same(tmp_path: Path) -> None:
    first, second, lines = tmp_path / "first.db", tmp_path / "second.db", tmp_path / "lines.json"
    fill(first)
    export_to(first, lines)
    for _ in range(2):  # a second import changes nothing
        assert import_from(lines, second) == []
        for table in TABLES:
            found = contents(second, table)
            assert found == contents(first, table), table
            assert found, f"{table} is empty: nothing was compared"
    packed = tmp_path / "lines.json.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    assert import_from(packed, tmp_path / "third.db") == []
    assert contents(tmp_path / "third.db", "runs") == contents(first, "runs")


def test_the_format_is_otlp(tmp_path: Path) -> None:
    fill(tmp_path / "runs.db")
    export_to(tmp_path / "runs.db", tmp_path / "lines.json")
    messages = [json.loads(line) for line in (tmp_path / "lines.json").read_text().splitlines()]
    spans = [
        span
        for message in messages
        for resource in message.get("resourceSpans", ())
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    span, steps = next((s, a) for s in spans for a in s["attributes"] if a["key"] == semconv.STEPS_TOTAL)
    assert len(span["traceId"]) == 32
    assert len(span["spanId"]) == 16
    assert span["startTimeUnixNano"].isdigit()
    assert steps["value"]["intValue"].isdigit()
    assert {next(iter(message)) for message in messages} == {"resourceSpans", "resourceLogs", "resourceMetrics"}


def test_one_run_brings_its_trace_only(tmp_path: Path) -> None:
    fill(tmp_path / "runs.db")
    with open_store(tmp_path / "runs.db") as store:
        run = next(run for run in store.runs() if store.run_data(run))
        lines = [to_line(message) for message in store.otlp([run.trace_id, run.trace_id])]
    assert len([line for line in lines if "resourceSpans" in line]) == 1
    assert all(run.trace_id in line for line in lines)
    assert not any("resourceMetrics" in line for line in lines)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"resourceSpans":[{"scopeSp', "not JSON at character"),
        ("[]", "a JSON object was expected"),
        ('{"hello": 1}', "one of resourceSpans, resourceLogs, resourceMetrics was expected"),
        ('{"resourceSpans": 3}', "not OTLP"),
        ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}', "not OTLP"),
        ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00"}]}]}]}', "ids are not 16 and 8 bytes"),
        ('{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","summary":{}}]}]}]}', "its type is summary"),
        ("[" * 100_000, "not"),
    ],
)
def test_a_broken_line_is_named_and_the_others_go_in(tmp_path: Path, line: str, reason: str) -> None:
    fill(tmp_path / "first.db")
    export_to(tmp_path / "first.db", tmp_path / "lines.json")
    whole = (tmp_path / "lines.json").read_text().splitlines()
    (tmp_path / "lines.json").write_text("\n".join([whole[0], line, "", *whole[1:]]))
    (problem,) = import_from(tmp_path / "lines.json", tmp_path / "second.db")
    assert problem.startswith("2: ")
    assert reason in problem
    assert contents(tmp_path / "second.db", "runs") == contents(tmp_path / "first.db", "runs")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b'{"resourceSpans":[]}\n' * 5000)[:60])
    for name, message in (("none.json", "No such file"), ("cut.gz", "cannot be read"), (".", "directory")):
        with pytest.raises(StoreError, match=message) as caught:
            list(read_lines(str(tmp_path / name)))
        assert str(tmp_path) in str(caught.value)


def test_standard_names_and_enum_names_are_read(tmp_path: Path) -> None:
    span = {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "B7AD6B7169203331",
        "name": "n",
        "kind": "SPAN_KIND_SERVER",
        "startTimeUnixNano": 5,
        "endTimeUnixNano": "9",
        "somethingNew": {"x": 1},
        "attributes": [{"key": "traceId", "value": {"stringValue": "kept"}}],
    }
    (tmp_path / "l.json").write_text(json.dumps({"resource_spans": [{"scopeSpans": [{"spans": [span]}]}]}))
    assert import_from(tmp_path / "l.json", tmp_path / "runs.db") == []
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        found = connection.execute("SELECT trace_id, span_id, kind, start_ns, end_ns, attributes FROM spans").fetchall()
    assert found == [("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 2, 5, 9, '{"traceId":"kept"}')]
