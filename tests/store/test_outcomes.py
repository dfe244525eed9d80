"""Whether an answer was wrong, and the runs of which that is known, over every source."""

from dataclasses import replace
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.catalogue import prompt_names
from opentelemetry_instrumentation_corevital.store import RunFilter, RunOrder, Store, StoreError
from opentelemetry_instrumentation_corevital.store.bulk_labels import LabelCounts, NewLabel
from opentelemetry_instrumentation_corevital.store.labels import LabelSource
from opentelemetry_instrumentation_corevital.store.outcomes import is_wrong, known_outcomes, prompt_of
from tests.support.run_sources import PLACES, Place, SQLitePlace
from tests.support.spans import spans_asked

ANY, GIVEN, EXPECTED = LabelSource.ANY, LabelSource.GIVEN, LabelSource.EXPECTED
TRUTHS: dict[tuple[str | None, bool | None], tuple[bool | None, bool | None, bool | None]] = {
    (None, None): (None, None, None),
    (None, True): (False, None, False),
    (None, False): (True, None, True),
    ("correct", None): (False, False, None),
    ("correct", False): (False, False, True),
    ("incorrect", True): (True, True, False),
    ("incorrect", None): (True, True, None),
    ("dubious", None): (None, None, None),
    ("dubious", False): (True, None, True),
}
"""Label and whether the expected text was found -> whether it was wrong by any, a given label, what was expected."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    place = PLACES[request.param](tmp_path)
    for number, (_, found) in enumerate(TRUTHS):
        said = {prompt_names.PROMPT_ID: str(number)}
        place.add(spans_asked(said if found is None else {**said, prompt_names.PROMPT_EXPECTED_FOUND: found}))
    with place.open() as source:
        for run in source.runs(limit=None):
            label, _ = list(TRUTHS)[int(run.prompt_id or "")]
            if label is not None:
                source.set_label(run, label)
    return place


def test_a_label_decides_then_what_was_expected_and_exactly_those_runs_are_listed(place: Place) -> None:
    with place.open() as source:
        runs = source.runs(limit=None)
        assert len(runs) == len(TRUTHS)
        for run in runs:
            wanted = TRUTHS[run.label, run.expected_found]
            assert (is_wrong(run), is_wrong(run, GIVEN), is_wrong(run, EXPECTED)) == wanted, run
        for labels, count in ((ANY, 7), (GIVEN, 4), (EXPECTED, 5)):
            known = [run for run in runs if is_wrong(run, labels) is not None]
            assert len(known) == count
            for order in RunOrder:
                listed = source.runs(outcome_known=labels, order=order, limit=None)
                assert listed == source.runs(RunFilter(outcome_known=labels), order=order, limit=None)
                assert {run.span_id for run in listed} == {run.span_id for run in known}
            assert source.models(outcome_known=labels) == {"org/model": count}
            assert source.counts(RunFilter(outcome_known=labels)).total == count
            both = source.runs(outcome_known=labels, label="dubious", model="org/model")
            assert [run.label for run in both] == ["dubious"] * (labels is not GIVEN)


def test_known_outcomes_are_the_newest_first_and_each_has_its_prompt(place: Place) -> None:
    with place.open() as source:
        for labels in LabelSource:
            listed = source.runs(outcome_known=labels, limit=None)
            found = known_outcomes(source, RunFilter(), labels)
            assert [run for run, _ in found] == listed
            assert all(wrong is is_wrong(run, labels) for run, wrong in found)
            assert known_outcomes(source, RunFilter(), labels, limit=2) == found[:2]
            assert known_outcomes(source, RunFilter(model="org/none"), labels) == []
        run = replace(source.runs()[0], prompt_hash=None)
        assert prompt_of(source.runs()[0]) == "ab" * 32
        assert prompt_of(run) == run.prompt_id
        assert prompt_of(replace(run, others={})) == f"{run.trace_id}:{run.span_id}:0"


def test_a_source_of_labels_is_checked_and_taken_by_its_name() -> None:
    assert RunFilter(outcome_known="given").outcome_known is GIVEN  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="unknown source of labels 'all'; sources are any, given, expected"):
        RunFilter(outcome_known="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", LabelSource)
@pytest.mark.parametrize("conditions", [{}, {"model": "org/model"}, {"risk_above": 0.1, "since_ns": 0}], ids=str)
def test_a_list_of_outcomes_walks_along_their_index(
    tmp_path: Path, labels: LabelSource, conditions: dict[str, float]
) -> None:
    there = SQLitePlace(tmp_path)
    there.add(spans_asked({prompt_names.PROMPT_EXPECTED_FOUND: True}, count=3))
    with Store(there.path) as store:
        statements: list[str] = []
        store._connection.set_trace_callback(statements.append)
        store.runs(outcome_known=labels, **conditions)
        store._connection.set_trace_callback(None)
        assert len(statements) == 2
        for statement in statements:
            plan = [detail for *_, detail in store._connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            (subquery,) = [index for index, detail in enumerate(plan) if detail.startswith("LIST SUBQUERY")]
            assert "INDEX runs_outcome (start_ns" in plan[subquery + 1], plan


def test_many_labels_are_written_all_or_none(place: Place) -> None:
    with place.open() as source:
        runs = sorted(source.runs(limit=None), key=lambda run: run.label is None)  # the last one has no label
        before = {run.span_id: run.label for run in runs}
        several = [NewLabel(run, "correct", "seen") for run in runs]
        counted = source.label_runs(several, dry_run=True)
        assert {run.span_id: run.label for run in source.runs(limit=None)} == before
        place.remove(runs[-1])
        with pytest.raises(StoreError, match="holds no run"):
            source.label_runs(several)
        with pytest.raises(StoreError, match="give one word"):
            source.label_runs([*several[:-1], NewLabel(runs[0], "not a word")])
        assert {run.span_id: run.label for run in source.runs(limit=None)}.items() <= before.items()
        assert source.label_runs(several[:-1]) == LabelCounts(2, 6, 0)
        assert counted == LabelCounts(3, 6, 0)
        found = [source.load(run).label for run in source.runs(label="correct")]
        assert [label.note for label in found if label is not None] == ["seen"] * 8
        assert source.label_runs([NewLabel(runs[0], "correct")]) == LabelCounts(0, 0, 1), "its note stays"
