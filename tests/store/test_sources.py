"""What every source of runs keeps: each test runs over each place of `PLACES`."""

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import get_fingerprint, semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import (
    Cursor,
    ModelOverview,
    RunFilter,
    RunOrder,
    RunSource,
    RunSummary,
    StoredRun,
    StoreError,
)
from opentelemetry_instrumentation_corevital.store.cursors import CLOCK_SKEW_NS
from tests.support.made_runs import add_layers, make_run
from tests.support.run_sources import PLACES, Place, meets, place_in_list, spans_at
from tests.support.spans import make_call, make_spans

DAY_NS = 86_400 * 10**9


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


def listed(source: RunSource, limit: int, **conditions: Any) -> list[RunSummary]:
    """Return a whole list, page by page."""
    found, after = list[RunSummary](), None
    while True:
        page = source.page(RunFilter(**conditions), limit=limit, after=after)
        assert len(page.runs) <= limit
        found += page.runs
        if page.next is None:
            return found
        assert len(page.runs) == limit, "a page that is not the last is full"
        assert page.next != after, "the list goes on"
        after = Cursor.parse(str(page.next))  # as an address carries it


def key(run: RunSummary) -> tuple[str, str]:
    return run.trace_id, run.span_id


# --- lists -----------------------------------------------------------------------------------------------------------


def test_the_newest_come_first_then_ids_and_what_is_dated_ahead_comes_last(place: Place) -> None:
    now = time.time_ns()
    ahead = now + 2 * CLOCK_SKEW_NS
    place.add([*spans_at([now, 5, 5, 5, ahead, ahead + 1, 7]), *make_call(3, start_ns=6)])
    with place.open() as source:
        found = source.runs(limit=None)
        assert [run.start_ns for run in found] == [now, 7, 6, 6, 6, 5, 5, 5, ahead + 1, ahead]
        assert found == sorted(found, key=lambda run: place_in_list(run, now + CLOCK_SKEW_NS))
        assert [run.sequence_index for run in found[2:5]] == [0, 1, 2]
        for limit in (1, 3, 7, 8, 9, 10, 11):
            assert listed(source, limit) == found
            assert source.runs(limit=limit) == found[:limit]
        assert source.page(limit=10).next is None
        assert source.runs(limit=0) == []
        with pytest.raises(ValueError, match="limit 0"):
            source.page(limit=0)


@pytest.mark.parametrize("filtered", [False, True])
def test_pages_show_each_run_once_while_runs_come_and_go(place: Place, filtered: bool) -> None:
    """1,000 runs, many of which start together, in pages of 50."""
    starts = [DAY_NS + 1000 * (index // 7) for index in range(1000)]
    place.add(spans_at(starts[:500]))
    place.add(spans_at(starts[500:], **{semconv.GEN_AI_REQUEST_MODEL: "org/other", semconv.RISK_SCORE: 0.9}))
    conditions: dict[str, Any] = {"risk_above": 0.5, "until_ns": starts[-50], "since_ns": starts[520]}
    conditions = conditions if filtered else {}
    with place.open() as source:
        beginning = [run for run in source.runs(limit=None) if meets(run, RunFilter(**conditions))]
        assert len(beginning) > 400
        assert len(beginning) < 1000 or not filtered
        seen, after, gone, pages = list[RunSummary](), None, set[tuple[str, str]](), 0
        while True:
            page = source.page(RunFilter(**conditions), limit=50, after=after)
            seen += page.runs
            pages += 1
            if page.next is None:
                break
            assert page.next != after, "the list goes on"
            after = page.next
            # New ones start after all others; of those that are there one that was seen goes, the one at the cursor
            # goes, and one of the pages to come.
            place.add(spans_at([time.time_ns()], **{semconv.RISK_SCORE: 0.9}))
            for run in (page.runs[7], page.runs[-1], beginning[-1 - 3 * pages]):
                if key(run) not in gone and pages % 2:
                    place.remove(run)
                    gone.add(key(run))
        left = [run for run in beginning if key(run) not in gone]
        assert len(gone) > 10
        assert len({key(run) for run in seen}) == len(seen), "no run twice"
        assert {key(run) for run in left} <= {key(run) for run in seen}, "no run left out"
        assert {key(run) for run in seen} <= {key(run) for run in beginning}, "none that came meanwhile"
        assert seen == sorted(seen, key=lambda run: place_in_list(run, time.time_ns()))


FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"model": "org/model"},
    {"model": "nobody"},
    {"risk_above": 0.25},
    {"level": "high"},
    {"flag": "repetition_loop"},
    {"flag": "nan_detected"},
    {"since_ns": 2_000},
    {"until_ns": 2_000},
    {"since_ns": 2_000, "until_ns": 4_001},
    {"since_ns": -(10**30), "until_ns": 10**30},
    {"since_ns": 3_000, "until_ns": 3_000},
    {"prompt_hash": "AB"},
    {"prompt_hash": "ab" * 32},
    {"prompt_hash": ""},
    {"label": "any"},
    {"label": "none"},
    {"label": "incorrect"},
    {"outcome_known": "any"},
    {"outcome_known": "expected"},
    {"longer_than": 1.0},
    {"tokens_above": 40},
    {"tokens_above": 10**30},
    {"stop_reason": "policy"},
    {"stop_reason": "length"},
    {"stop_reason": "time"},
    {"stop_reason": "policy", "model": "org/other"},
    {"intervened": True},
    {"intervened": False},
    {"intervened": True, "stop_reason": "length"},
    {"baseline_source": "learned"},
    {"baseline_source": "packaged"},
    {"baseline_source": "learned", "stop_reason": "length"},
    {"risk_below": 0.9},
    {"risk_above": 0.2, "risk_below": 0.25},
    {"warning": "repetition_risk"},
    {"warning": "repetition"},
    {"text": "ORG/o"},
    {"text": "100%"},
    {"text": "tests", "model": "org/other"},
    {"text": "\u00c4"},
    {"text": ""},
)


@pytest.fixture(params=PLACES, scope="module")
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Runs that differ in all that filters look at."""
    place = PLACES[request.param](tmp_path_factory.mktemp("mixed"))
    place.add(spans_at([1_000, 2_000, 2_000, 3_000]))
    place.add(spans_at([2_000, 4_000], seconds=2.5, **{semconv.RISK_SCORE: 0.9, semconv.RISK_LEVEL: "high"}))
    for start, text in enumerate(("ab" * 32, "ac" * 32, "b0" * 32), 4_000):
        changes = {semconv.FINGERPRINT_PROMPT_HASH: text, semconv.GEN_AI_USAGE_OUTPUT_TOKENS: 10 + start}
        place.add(spans_at([start], **changes, **{semconv.HEALTH_NAN: True, semconv.GEN_AI_REQUEST_MODEL: "org/other"}))
    place.add(spans_at([4_010, 4_011], **{semconv.STOP_REASON: "policy", semconv.INTERVENTION_KIND: "stop"}))
    place.add(spans_at([4_012], **{semconv.STOP_REASON: "length", semconv.INTERVENTION_KIND: "cool_down"}))
    place.add(spans_at([4_013], **{semconv.STOP_REASON: "length", semconv.VERDICTS["baseline.source"]: "learned"}))
    place.add(make_call(2))
    with place.open() as source:
        source.set_label(source.runs(limit=None)[3], "incorrect")
        source.set_label(source.runs(limit=None)[5], "fine")
    return place


@pytest.mark.parametrize("filters", [*FILTERS, *({**a, **b} for a, b in itertools.pairwise(FILTERS[1:]))], ids=str)
def test_filters_find_what_meets_them(mixed: Place, filters: dict[str, Any]) -> None:
    with mixed.open() as source:
        everything = source.runs(limit=None)
        assert len(everything) == 15
        wanted = RunFilter(**filters)
        expected = [run for run in everything if meets(run, wanted)]
        assert source.runs(limit=None, **filters) == expected
        assert source.runs(wanted, limit=2) == expected[:2]
        assert listed(source, 2, **filters) == expected
        counted = [
            ModelOverview(
                model,
                len(runs),
                sum(run.risk_level == "high" for run in runs),
                max(run.start_ns for run in runs),
            )
            for model in {run.model for run in expected}
            if (runs := [run for run in expected if run.model == model])
        ]
        assert source.overview(wanted) == sorted(counted, key=lambda each: (-each.runs, each.model or ""))
        assert source.models(**filters) == {each.model: each.runs for each in counted}


def test_a_condition_that_there_is_not_is_refused(place: Place) -> None:
    place.add(make_spans())
    with place.open() as source:
        for use in (source.runs, source.models):
            with pytest.raises(TypeError, match="colour"):
                use(colour="red")
            for conditions in (
                {"flag": "sad"},
                {"level": "huge"},
                {"stop_reason": "bored"},
                {"baseline_source": "guessed"},
                {"risk_above": float("nan")},
            ):
                with pytest.raises(StoreError):
                    use(**conditions)


def test_a_comparison_gets_the_runs_of_each_model(place: Place) -> None:
    place.add(make_spans(3))
    place.add(make_spans(2, **{semconv.GEN_AI_REQUEST_MODEL: "org/other"}))
    with place.open() as source:
        found = source.compared(["org/other", "org/model"], RunFilter(risk_above=0.1), limit=2)
        assert {model: [run.model for run in runs] for model, runs in found.items()} == {
            "org/other": ["org/other"] * 2,
            "org/model": ["org/model"] * 2,
        }
        assert list(found) == ["org/other", "org/model"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "a.b.c.d.e",
        f"1.2.{'ab' * 16}.3",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}.4",
        f"1.2.{'xy' * 16}.3.{'cd' * 8}",
        f"1.2.{'ab' * 16}.0x1.{'cd' * 8}",
        f" 1.2.{'ab' * 16}.3.{'cd' * 8}",
        f"1.2.{'ab' * 16}.-3.{'cd' * 8}",
        f"1.{2**63}.{'ab' * 16}.3.{'cd' * 8}",
        f"1{'0' * 5000}.2.{'ab' * 16}.3.{'cd' * 8}",
        f"\u0661.2.{'ab' * 16}.3.{'cd' * 8}",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}~risk",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}~beauty~0.5",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}~oldest~0.5",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}~risk~1e999",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}~risk~1.2.3",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}~tokens~0.5",
        f"1.2.{'ab' * 16}.3.{'cd' * 8}~tokens~-5",
    ],
)
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="no place in a list"):
        Cursor.parse(text)


def test_a_place_survives_as_text() -> None:
    ids = ("ab" * 16, 3, "cd" * 8)
    for place in (
        Cursor(-5, 7, *ids),
        Cursor(2**63 - 1, -(2**63), "0" * 32, 0, "0" * 16),
        *(Cursor(5, 7, *ids, RunOrder.RISK, risk) for risk in (0.1 + 0.2, 5e-324, 0.0, None)),
        Cursor(5, 7, *ids, RunOrder.OLDEST),
        Cursor(5, 7, *ids, RunOrder.FEWEST_TOKENS, 12),
    ):
        assert Cursor.parse(str(place)) == place


# --- one run ---------------------------------------------------------------------------------------------------------


def test_runs_are_found_by_their_names(place: Place) -> None:
    place.add(spans_at([500]))
    place.add(make_call(3))
    with place.open() as source:
        *call, alone = source.runs()
        trace = call[0].trace_id
        assert source.call("last") == call
        assert source.run("last:1").summary == call[1]
        assert source.run(f"{trace[:6].upper()}:2").summary == call[2]
        assert source.run(call[1].span_id[:8]).summary == call[1]
        assert source.run(alone.trace_id).summary == alone
        assert source.call(alone.trace_id[:8]) == [alone]
        for name, message in (
            (trace, f"sequences are: {trace[:12]}:0, {trace[:12]}:1, {trace[:12]}:2; name one"),
            (f"{trace}:3", "sequences are"),
            ("abc", "at least four characters"),
            ("last:x", "number of the sequence"),
            ("0" * 32, f"{source.name}: holds no run {'0' * 32}"),
        ):
            with pytest.raises(StoreError, match=message):
                source.run(name)


def test_an_empty_source_has_no_last_run(place: Place) -> None:
    place.add(make_spans())
    with place.open() as source:
        place.remove(source.runs()[0])
        assert source.runs() == []
        assert source.overview() == []
        with pytest.raises(StoreError, match="holds no run yet"):
            source.run("last")


def test_a_run_comes_whole(place: Place) -> None:
    numbers = run_columns(add_layers(make_run(9), 3), content=False)
    spans = make_spans(events=3, **{semconv.FINGERPRINT_VECTOR: [0.5, 0.25], semconv.FINGERPRINT_VERSION: "1"})
    place.add(spans, to_npz(numbers))
    place.add(make_call(2))
    with place.open() as source:
        run = source.run("last")
        listed_run = source.runs()[0]
        assert run.summary == listed_run
        assert run.attributes[semconv.GEN_AI_REQUEST_MODEL] == "org/model"
        assert [event.attributes[semconv.STEP_INDEX] for event in run.steps] == [0, 1, 2]
        columns = source.columns(listed_run)
        assert columns is not None
        assert columns.keys() == numbers.keys()
        for name, values in numbers.items():
            np.testing.assert_array_equal(columns[name], values)
        assert source.run_data(run) == source.run_data(listed_run) == run.data
        assert list(source.fingerprints([listed_run])) == [get_fingerprint(run)]
        assert get_fingerprint(run).vector == (0.5, 0.25)
        sequence = source.runs()[1]
        assert source.columns(sequence) is None
        call = source.load(sequence).call
        assert call is not None or sequence.sequence_index == 0


def test_damaged_data_name_the_source(place: Place) -> None:
    place.add(make_spans())
    with place.open() as source:
        run: StoredRun = replace(source.run("last"), data=b"no archive")
        with pytest.raises(StoreError, match="data are damaged") as caught:
            source.columns(run)
        assert source.name in str(caught.value)


def test_a_run_that_was_deleted_meanwhile_is_told(place: Place) -> None:
    place.add(make_spans(2))
    with place.open() as source:
        run, other = source.runs()
        place.remove(run)
        for use in (source.load, source.columns, lambda gone: list(source.fingerprints([gone]))):
            with pytest.raises(StoreError, match=f"holds no run {run.trace_id} any more"):
                use(run)
        assert source.load(other).summary == other


# --- labels ----------------------------------------------------------------------------------------------------------


def test_a_label_is_given_changed_and_taken_away(place: Place) -> None:
    place.add(make_spans(2))
    with place.open() as source:
        run, other = source.runs()
        source.set_label(run, "correct")
        source.set_label(run, "incorrect", "it names the wrong year")
        label = source.load(run).label
        assert label is not None
        assert (label.outcome, label.note) == ("incorrect", "it names the wrong year")
        assert abs(label.labelled_ns - time.time_ns()) < DAY_NS
        assert source.runs() == [replace(run, label="incorrect"), other]
        for wrong in ("", "two words", "any", "none", "x" * 65):
            with pytest.raises(StoreError, match="one word"):
                source.set_label(run, wrong)
        source.set_label(run, None)
        assert (source.load(run).label, source.runs()) == (None, [run, other])
        place.remove(other)
        with pytest.raises(StoreError, match="holds no run"):
            source.set_label(other, "correct")


def test_a_source_keeps_telemetry_as_it_was_sent_or_says_that_it_does_not(place: Place) -> None:
    place.add(make_spans())
    with place.open() as source:
        trace_id = source.runs()[0].trace_id
        try:
            messages = list(source.otlp([trace_id]))
        except StoreError as error:
            assert source.name in str(error)  # noqa: PT017
            assert "--format report" in str(error)  # noqa: PT017
        else:
            assert any(bytes.fromhex(trace_id) in message.SerializeToString() for message in messages)


def test_it_may_be_closed_twice(place: Place) -> None:
    place.add(make_spans())
    with place.open() as source:
        source.close()
    source.close()
