"""What a prompt set says of a run, and its experiment: from event and resource to columns, filters and upgrades."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue import prompt_names
from opentelemetry_instrumentation_corevital.store import RunFilter, open_store
from opentelemetry_instrumentation_corevital.store.database import open_database
from tests.support.run_sources import PLACES
from tests.support.spans import spans_asked
from tests.support.store_versions import made_by

ASKED = {
    prompt_names.PROMPT_ID: "q07",
    prompt_names.PROMPT_REQUEST_HASH: "cd" * 32,
    prompt_names.PROMPT_EXPECTED_FOUND: True,
}


@pytest.mark.parametrize("place", PLACES)
def test_runs_are_found_by_what_they_were_asked(place: str, tmp_path: Path) -> None:
    there = PLACES[place](tmp_path)
    there.add(spans_asked(ASKED))
    there.add(spans_asked(experiment="long"))
    with there.open() as source:
        assert len(source.runs()) == 2
        (run,) = source.runs(experiment="short")
        assert source.runs(request_hash="cd" * 32) == source.runs(experiment="short", service="tests") == [run]
        assert source.runs(service="other") == source.runs(request_hash="cd") == []
        assert (run.prompt_id, run.expected_found, run.experiment) == ("q07", True, "short")
        assert run.as_dict()["request_hash"] == "cd" * 32
        (other,) = source.runs(experiment="long")
        assert (other.prompt_id, other.expected_found, other.request_hash) == (None, None, None)


@pytest.mark.parametrize("place", PLACES)
def test_the_riskiest_come_first_and_those_not_judged_last(place: str, tmp_path: Path) -> None:
    there = PLACES[place](tmp_path)
    for risk in (0.2, 0.9, None, 0.5):
        there.add(
            spans_asked(ASKED, **{semconv.RISK_SCORE: risk} if risk is not None else {semconv.RISK_SCORE: "none"})
        )
    there.add(spans_asked(count=2, **{semconv.RISK_SCORE: 0.5}))
    with there.open() as source:
        found = source.riskiest()
        assert [run.risk_score for run in found] == [0.9, 0.5, 0.5, 0.5, 0.2, None]
        assert [run.start_ns for run in found[1:4]] == [2, 1, 1], "of equals the newest"
        assert [run.risk_score for run in source.riskiest(RunFilter(experiment="short"), limit=2)] == [0.9, 0.5]
        assert source.riskiest(RunFilter(experiment="none")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {prompt_names.PROMPT_ID: "x" * 129},
        {prompt_names.PROMPT_ID: 7},
        {prompt_names.PROMPT_EXPECTED_FOUND: "yes"},
        {prompt_names.PROMPT_REQUEST_HASH: ["a"]},
    ],
    ids=str,
)
def test_what_is_no_such_value_is_absent_and_told(wrong: dict[str, Any], tmp_path: Path) -> None:
    there = PLACES["sqlite"](tmp_path)
    there.add(spans_asked(ASKED | wrong))
    with there.open() as source:
        (run,) = source.runs()
    (name,) = wrong
    assert [name in each for each in run.damage] == [True]
    found = {"prompt_id": run.prompt_id, "expected_found": run.expected_found, "request_hash": run.request_hash}
    assert sorted(map(str, found.values())) != sorted(map(str, ASKED.values()))
    assert None in found.values()


def test_the_first_event_counts_and_an_experiment_is_a_short_text(tmp_path: Path) -> None:
    there = PLACES["sqlite"](tmp_path)
    there.add(spans_asked(ASKED, {**ASKED, prompt_names.PROMPT_ID: "q08"}))
    for other in (7, "x" * 129, ""):
        there.add(spans_asked(experiment=other))
    with there.open() as source:
        assert sorted(str(run.experiment) for run in source.runs()) == ["None", "None", "None", "short"]
        assert [run.prompt_id for run in source.runs(experiment="short")] == ["q07"]


@pytest.mark.parametrize(("sent", "kept"), [("short", "short"), (7, None)])
def test_an_upgrade_reads_what_an_older_version_stored_unread(sent: object, kept: str | None, tmp_path: Path) -> None:
    path = made_by(6, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE resources SET attributes = ?", (json.dumps({prompt_names.EXPERIMENT: sent}),))
        event = ASKED if kept else dict.fromkeys(ASKED, 7)
        connection.execute(
            "INSERT INTO span_events SELECT trace_id, span_id, 0, 5, ?, ? FROM spans",
            (prompt_names.PROMPT_EVENT, json.dumps(event)),
        )
        connection.commit()
    open_database(path).close()
    with open_store(path) as store:
        (run,) = store.runs()
    found = (run.experiment, run.prompt_id, run.request_hash, run.expected_found)
    assert found == ((kept, *ASKED.values()) if kept else (None,) * 4)
    assert run.damage == {}
