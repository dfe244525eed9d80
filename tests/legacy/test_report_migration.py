"""Reports of the first CoreVital become runs that show what they said, and come out again as they were."""

import gzip
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.fingerprint import hash_text
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.legacy import report_sources
from opentelemetry_instrumentation_corevital.legacy.report import report_of
from opentelemetry_instrumentation_corevital.legacy.report_migration import Outcome, migrate
from opentelemetry_instrumentation_corevital.legacy.report_timeline import pack, unpack
from opentelemetry_instrumentation_corevital.store import StoreError, open_store
from tests.support.legacy_reports import ANSWER, PROMPT_TEXT, report, write_database, write_file
from tests.support.report_differences import differences, missing

SECOND, THIRD = ("aaaaaaaa-0000-4000-8000-00000000000" + digit for digit in "23")


def run(folder: Path, target: Path, *, content: bool = False, dry_run: bool = False) -> Outcome:
    *_, outcome = migrate(folder, target, load_settings(), content=content, dry_run=dry_run)
    return outcome


def test_the_answer_risk_comes_back(tmp_path: Path) -> None:
    source = report(version="0.4.0")
    source["extensions"]["risk"]["answer_risk"] = 0.75
    write_file(tmp_path / "old", source)
    assert run(tmp_path / "old", tmp_path / "new.db").migrated == 1
    with open_store(tmp_path / "new.db") as store:
        stored = store.run("last")
    assert stored.summary.risk_answer == 0.75
    assert report_of(stored)["extensions"]["risk"]["answer_risk"] == 0.75


@pytest.mark.parametrize("content", [False, True])
def test_what_it_told_of_the_prompt_comes_along(tmp_path: Path, content: bool) -> None:
    source = report(version="0.4.0")
    heads = [{"query_indices": [2, 3], "key_indices": [0, 1], "weights": [0.9, 0.5]}] * 2
    source["prompt_analysis"]["layers"] = [{"heads": heads, "basin_scores": [0.31, 0.2]}] * 2
    source["model"]["num_layers"] = 2
    write_file(tmp_path / "old", source)
    run(tmp_path / "old", tmp_path / "new.db", content=content)
    with open_store(tmp_path / "new.db") as store:
        stored = store.run("last")
    told = stored.prompt_analysis
    assert told is not None
    assert told.layer_transformation is not None
    assert told.surprising is not None
    assert told.layer_transformation.tolist() == pytest.approx([np.nan, 0.25], nan_ok=True)
    assert (told.surprisal_mean, told.surprisal_max, told.surprising.tolist()) == (6.25, 11.5, [1, 2])
    assert (told.basin, told.connections) == (None, None), "another definition: it stays in the report"
    assert (told.surprisal is not None) == content
    kept = report_of(stored)["prompt_analysis"]
    assert kept["layers"] == source["prompt_analysis"]["layers"]
    assert ("prompt_surprisals" in kept) == content
    assert not stored.damage


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"layers": 3, "layer_transformations": "0.5", "prompt_surprisals": [None, "x"]},
        {"layers": [{"heads": [{"key_indices": [1], "weights": []}]}], "layer_transformations": [1.0] * 40},
    ],
)
def test_what_cannot_be_read_of_a_prompt_stays_in_the_report(tmp_path: Path, told: Any) -> None:
    source = report(version="0.4.0")
    source["prompt_analysis"], source["model"]["num_layers"] = told, 2
    write_file(tmp_path / "old", source)
    assert run(tmp_path / "old", tmp_path / "new.db", content=True).migrated == 1
    with open_store(tmp_path / "new.db") as store:
        stored = store.run("last")
    assert stored.prompt_analysis is None
    assert report_of(stored)["prompt_analysis"] == told


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0"])
def test_a_report_shows_what_it_said(tmp_path: Path, version: str) -> None:
    source = report(version=version)
    write_file(tmp_path / "old", source)
    assert run(tmp_path / "old", tmp_path / "new.db").migrated == 1
    with open_store(tmp_path / "new.db") as store:
        (summary,) = store.runs()
        stored = store.run("aaaaaaaa")
    assert (summary.risk_score, summary.risk_level, summary.risk_method) == (0.93, "high", f"report-{version}")
    assert summary.flags == ("nan_detected", "repetition_loop_detected")
    assert (summary.inf_detected, summary.high_entropy_steps, summary.failure_risk) == (False, 2, 0.9)
    assert (summary.model, summary.strategy, summary.input_tokens, summary.output_tokens) == (
        "org/first",
        "sample",
        5,
        7,
    )
    assert summary.end_ns == 1_771_616_090 * 10**9
    assert summary.seconds == 1.5
    assert summary.prompt_hash == hash_text(PROMPT_TEXT)
    assert stored.attributes[semconv.BLAME_LAYERS] == ([0, 2] if version == "0.3.0" else [2])
    assert stored.attributes[semconv.MIGRATED_FROM] == version
    entropies = [step["logits_summary"]["entropy"] for step in source["timeline"]]
    assert stored.attributes[semconv.SERIES_ENTROPY] == pytest.approx(entropies, rel=1e-5)
    assert stored.attributes[semconv.ENTROPY_MEAN] == pytest.approx(np.mean(entropies))
    assert stored.columns["hidden_l2_norm"].shape == (7, 3)
    assert stored.columns["collapsed_head_rate"].max() <= 0.75
    assert stored.attributes[semconv.LAYERS_NONFINITE] == [0, 0, 1]
    assert np.isnan(stored.columns["surprisal"][0])


@pytest.mark.parametrize("content", [False, True])
def test_the_likeliest_tokens_come_along(tmp_path: Path, content: bool) -> None:
    source = report()
    told = [{"token_id": 9 + rank, "prob": 0.5 / (rank + 1)} for rank in range(8)]
    source["timeline"][1]["logits_summary"]["topk"] = told
    source["timeline"][2]["logits_summary"]["topk"] = [{"prob": 7.0}]
    source["timeline"][3]["logits_summary"]["topk_probs"] = source["timeline"][3]["logits_summary"].pop("topk")
    write_file(tmp_path / "old", source)
    run(tmp_path / "old", tmp_path / "new.db", content=content)
    with open_store(tmp_path / "new.db") as store:
        columns = store.columns(store.run("last"))
    found = columns["alternative_probability"]
    assert found.shape == (7, 5)
    assert found[1].tolist() == pytest.approx([each["prob"] for each in told[:5]])
    assert found[3, 0] == 0.5
    assert np.isnan(found[2]).all(), "what is no probability"
    assert np.isnan(found[3, 1:]).all(), "what the report does not tell"
    assert ("alternative_token" in columns) == content
    if content:
        assert columns["alternative_token"][1].tolist() == [9, 10, 11, 12, 13]
        assert columns["alternative_token"][3].tolist() == [9, -1, -1, -1, -1]


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0"])
@pytest.mark.parametrize("content", [False, True])
def test_a_migrated_run_exports_as_its_source(tmp_path: Path, version: str, content: bool) -> None:
    source = report(version=version)
    write_file(tmp_path / "old", source)
    run(tmp_path / "old", tmp_path / "new.db", content=content)
    with open_store(tmp_path / "new.db") as store:
        exported = json.loads(json.dumps(report_of(store.run("last"))))
    found = differences(source, exported)
    if content:
        assert found == []
        assert missing(source, exported) == []
    else:
        quoted = ".extensions.narrative.summary"
        assert [each for each in found if not each.startswith(quoted)] == []
        lost = {each.rpartition(".")[2] for each in missing(source, exported)}
        assert lost <= {
            "prompt_surprisals",
            "text",
            "token_ids",
            "output_text",
            "token_id",
            "token_text",
            "retrieved_doc_ids",
        }


def test_without_content_no_text_or_token_gets_in(tmp_path: Path) -> None:
    write_file(tmp_path / "old", report())
    for content in (False, True):
        target = tmp_path / f"{content}.db"
        run(tmp_path / "old", target, content=content)
        with open_store(target) as store:
            stored = store.run("last")
        everything = json.dumps([stored.as_dict(), stored.report, {k: v.tolist() for k, v in stored.columns.items()}])
        for text in ("Eddystone", ANSWER.strip(), "Smeaton", "lighthouse.txt", '"token_ids"', '"tokens"'):
            assert (text in everything) is content, text
    assert "high risk" in str(stored.summary.narrative)


def test_databases_of_every_kind(tmp_path: Path) -> None:
    write_database(tmp_path / "old" / "a.db", report(), compressed=True)
    write_database(tmp_path / "old" / "deeper" / "b.sqlite", report(SECOND), compressed=False, columns=False)
    write_file(tmp_path / "old", report(THIRD))
    (tmp_path / "old" / "trace_x_performance_detailed.json").write_text("{}")
    (tmp_path / "old" / "other.json").write_text("not ours")
    outcome = run(tmp_path / "old", tmp_path / "new.db")
    assert (outcome.migrated, outcome.already_there, outcome.skipped) == (3, 0, [])
    before = (tmp_path / "old" / "a.db").read_bytes()
    again = run(tmp_path / "old", tmp_path / "new.db")
    assert (again.migrated, again.already_there, again.skipped) == (0, 3, [])
    assert (tmp_path / "old" / "a.db").read_bytes() == before
    with open_store(tmp_path / "new.db") as store:
        assert len(store.runs()) == 3


def test_a_dry_run_reads_everything_and_writes_nothing(tmp_path: Path) -> None:
    write_database(tmp_path / "a.db", report(), report(SECOND))
    outcome = run(tmp_path, tmp_path / "new.db", dry_run=True)
    assert outcome.migrated == 2
    assert not (tmp_path / "new.db").exists()


def test_what_is_broken_is_skipped_with_its_place_and_the_others_go_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    write_file(old, report())
    whole = json.dumps(report(SECOND), indent=1)
    (old / "trace_cut.json").write_text(whole[: len(whole) // 2])
    (old / "trace_foreign.json").write_text('{"hello": "world"}')
    (old / "trace_list.json").write_text("[1]")
    (old / "trace_newer.json").write_text(json.dumps({**report(SECOND), "schema_version": "9.0"}))
    (old / "trace_bytes.json").write_bytes(b'{"a": "\xff"}')
    (old / "trace_typed.json").write_text(json.dumps({**report(SECOND), "timeline": {"a": 1}}))
    (old / "trace_dated.json").write_text(json.dumps({**report(SECOND), "created_at_utc": "yesterday"}))
    (old / "trace_deep.json").write_text("[" * 100_000)
    (old / "trace_digits.json").write_text('{"trace_id": ' + "1" * 5000 + "}")
    os.mkfifo(old / "trace_pipe.json")
    (old / "trace_zero.json").symlink_to("/dev/zero")
    os.mkfifo(old / "pipe.db")
    with closing(sqlite3.connect(old / "theirs.db")) as connection:
        connection.execute("CREATE TABLE things (x)")
    (old / "text.db").write_text("no database")
    blobs = write_database(
        old / "rows.db", report(THIRD), report("second"), report("third"), report("fourth"), report("fifth")
    )
    with closing(sqlite3.connect(blobs)) as connection:
        connection.execute("UPDATE reports SET report_blob = substr(report_blob, 1, 200) WHERE trace_id = 'second'")
        bomb = gzip.compress(b" " * 5_000_000)
        connection.execute("UPDATE reports SET report_blob = ? WHERE trace_id = 'third'", (bomb,))
        connection.execute("UPDATE reports SET report_blob = NULL WHERE trace_id = 'fourth'")
        connection.execute("UPDATE reports SET report_blob = 7 WHERE trace_id = 'fifth'")
        connection.commit()
    monkeypatch.setattr(report_sources, "MOST_BYTES", 4_000_000)
    outcome = run(old, tmp_path / "new.db")
    assert outcome.migrated == 2
    told = {Path(where.split(",")[0]).name + where.partition(",")[2][:6]: why for where, why in outcome.skipped}
    for name, reason in {
        "trace_cut.json": "no JSON at line",
        "trace_foreign.json": "schema_version: text was expected",
        "trace_list.json": "object was expected",
        "trace_newer.json": "'9.0', 0.3.0 and 0.4.0 are known",
        "trace_bytes.json": "not UTF-8 at byte 7",
        "trace_typed.json": "timeline: a list of objects was expected",
        "trace_dated.json": "no ISO 8601 time",
        "trace_deep.json": "nested too deeply",
        "trace_digits.json": "thousands of digits",
        "trace_pipe.json": "is a pipe, not a file",
        "trace_zero.json": "is a device, not a file",
        "pipe.db": "is a pipe, not a file",
        "theirs.db": "no table of reports",
        "text.db": "not an SQLite database",
        "rows.db row 2": "cut off after 200 bytes",
        "rows.db row 3": "larger than",
        "rows.db row 4": "neither",
        "rows.db row 5": "text or bytes",
    }.items():
        assert reason in told.get(name, ""), (name, told)
    assert "line " in told["trace_cut.json"]
    assert len(outcome.skipped) == 18
    with pytest.raises(StoreError, match="is no folder"):
        run(tmp_path / "nowhere", tmp_path / "new.db")


def test_a_report_without_layers_and_with_holes(tmp_path: Path) -> None:
    source = report()
    for step in source["timeline"]:
        step["layers"] = []
    del source["extensions"], source["health_flags"], source["prompt"]["text"]
    source["timeline"][2]["logits_summary"]["entropy"] = float("nan")
    write_file(tmp_path, source)
    assert run(tmp_path, tmp_path / "new.db").migrated == 1
    with open_store(tmp_path / "new.db") as store:
        stored = store.run("last")
    assert (stored.summary.risk_score, stored.summary.nan_detected, stored.summary.prompt_hash) == (None, None, None)
    assert not any(values.ndim > 1 for name, values in stored.columns.items() if name != "alternative_probability")
    assert np.isnan(report_of(stored)["timeline"][2]["logits_summary"]["entropy"])


numbers = st.one_of(st.none(), st.floats(), st.integers(-(2**60), 2**60), st.booleans(), st.text(max_size=2))


@given(st.lists(st.tuples(numbers, st.lists(st.tuples(numbers, numbers), max_size=3)), max_size=5))
def test_a_timeline_comes_back_whatever_it_holds(steps: list[Any]) -> None:
    timeline = [
        {
            "step_index": index,
            "logits_summary": {"entropy": entropy, "odd": [entropy]},
            "layers": [{"hidden_summary": {"mean": mean}, "anomalies": {"has_nan": flag}} for mean, flag in layers],
        }
        for index, (entropy, layers) in enumerate(steps)
    ]
    columns, rest = pack(timeline)
    assert missing(timeline, unpack(columns, rest)) == []
    assert differences(timeline, unpack(columns, rest), "") == [] or any(
        value != value for entropy, layers in steps for value in (entropy, *(v for pair in layers for v in pair))
    )
