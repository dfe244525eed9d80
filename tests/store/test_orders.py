"""Lists in every order, forwards and backwards, what is counted of them, and runs that are alike: over every source."""

import itertools
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import get_fingerprint, semconv
from opentelemetry_instrumentation_corevital.store import (
    Cursor,
    RunFilter,
    RunList,
    RunOrder,
    RunSource,
    StoreError,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.database import TimeLimitError
from opentelemetry_instrumentation_corevital.store.facets import FACETS, counted, without_facets
from tests.support.run_sources import PLACES, Place, place_in_list, spans_at
from tests.support.spans import make_call, make_spans

AHEAD_NS = time.time_ns() + 10**15
VECTOR, VERSION = semconv.FINGERPRINT_VECTOR, semconv.FINGERPRINT_VERSION


@pytest.fixture(params=PLACES, scope="module")
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Forty runs: many are equal in risk, tokens and time, some were not judged, one is dated ahead."""
    place = PLACES[request.param](tmp_path_factory.mktemp("mixed"))
    numbers = itertools.product((0.0, 0.25, 0.7, 1.0), (10, 40, 512))
    for count, (risk, tokens) in enumerate(numbers):
        level = "high" if risk >= 0.7 else "low"
        changes = {semconv.RISK_SCORE: risk, semconv.RISK_LEVEL: level, semconv.GEN_AI_USAGE_OUTPUT_TOKENS: tokens}
        changes |= {semconv.GEN_AI_REQUEST_MODEL: f"org/model-{count % 3}", semconv.HEALTH_NAN: count % 4 == 0}
        if count % 5 == 0:
            changes |= {semconv.WARNINGS: ["repetition_risk", "entropy_rising"], semconv.STOP_REASON: "policy"}
            changes |= {semconv.INTERVENTION_KIND: "stop"}
        place.add(spans_at([1_000, 1_000 + count, 5_000], **changes))
    place.add(make_call(3))
    place.add(spans_at([AHEAD_NS], **{semconv.RISK_SCORE: 0.5}))
    with place.open() as source:
        runs = source.runs(limit=None)
        for run, outcome in zip(runs[::9], ("fine", "incorrect", "fine", "fine", "fine"), strict=True):
            source.set_label(run, outcome, "50% of it" if outcome == "incorrect" else None)
    return place


def pages(source: RunSource, order: RunOrder, limit: int, wanted: RunFilter) -> list[RunList]:
    """Return the pages of a list; going back from the last one has to give the same."""
    found, after = list[RunList](), None
    while True:
        page = source.page(wanted, order=order, limit=limit, after=after)
        found.append(page.runs)
        if page.next is None:
            break
        after = Cursor.parse(str(page.next))  # as an address carries it
    backwards = [page.runs]
    while page.previous is not None:
        page = source.page(wanted, order=order, limit=limit, before=Cursor.parse(str(page.previous)))
        backwards.append(page.runs)
        assert page.next is not None
        again = source.page(wanted, order=order, limit=limit, after=page.next).runs
        assert again == backwards[-2][:limit], "and forwards again"
    assert [run for some in reversed(backwards) for run in some] == [run for some in found for run in some]
    return found


@pytest.mark.parametrize("order", RunOrder)
@pytest.mark.parametrize("conditions", [{}, {"model": "org/model-1"}, {"risk_above": 0.1, "tokens_above": 10}], ids=str)
def test_lists_go_forwards_and_backwards_in_every_order(
    mixed: Place, order: RunOrder, conditions: dict[str, Any]
) -> None:
    wanted = RunFilter(**conditions)
    with mixed.open() as source:
        newest = source.runs(wanted, limit=None)
        ahead_ns = time.time_ns() + 10**12
        expected = sorted(newest, key=lambda run: place_in_list(run, ahead_ns, order))
        assert source.runs(wanted, order=order, limit=None) == expected
        for limit in (1, 4, 7, len(expected), 100):
            found = pages(source, order, limit, wanted)
            assert [run for some in found for run in some] == expected
            assert all(len(some) == limit for some in found[:-1])
        for before, run, behind in zip([None, *expected], expected, [*expected[1:], None], strict=False):
            assert source.neighbours(run, wanted, order=order) == (before, behind)


def test_a_run_that_is_not_in_the_list_has_neighbours_in_it(mixed: Place) -> None:
    with mixed.open() as source:
        high = source.runs(level="high", limit=None)
        for run in source.runs(level="low", limit=None):
            before, behind = source.neighbours(run, RunFilter(level="high"))
            expected = sorted([*high, run], key=lambda each: place_in_list(each, time.time_ns()))
            place = expected.index(run)
            assert before == (expected[place - 1] if place else None)
            assert behind == (expected[place + 1] if place + 1 < len(expected) else None)


def test_a_place_of_another_list_is_refused(mixed: Place) -> None:
    with mixed.open() as source:
        place = source.page(limit=3).next
        for side in ("after", "before"):
            with pytest.raises(StoreError, match="by newest is none in one by risk"):
                source.page(order=RunOrder.RISK, limit=3, **{side: place})


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"model": "org/model-1"},
        {"model": "org/model-1", "level": "high"},
        {"model": "nobody"},
        {"flag": "nan_detected", "risk_above": 0.1},
        {"warning": "entropy_rising"},
        {"label": "any"},
        {"label": "none", "stop_reason": "policy"},
        {"label": "fine"},
        {"outcome_known": "given", "model": "org/model-1"},
        {"intervened": True, "tokens_above": 10},
        {"intervened": False},
        {"service": "tests", "prompt_hash": "ab"},
        {"request_hash": "ab"},
        {"text": "model-2", "since_ns": 1_002},
        {"text": "50% OF"},
    ],
    ids=str,
)
def test_every_value_of_a_filter_is_counted(mixed: Place, conditions: dict[str, Any]) -> None:
    wanted = RunFilter(**conditions)
    with mixed.open() as source:
        counts = source.counts(wanted)
        assert counts == counted(source.runs(without_facets(wanted), limit=None), wanted)
        assert counts.total == len(source.runs(wanted, limit=None))
        assert counts.by.keys() == FACETS.keys()
        for name, values in counts.by.items():
            for value, count in values.items():
                asked = {"label": "none"}.get(name) if value is None else value
                if asked is not None:
                    assert len(source.runs(**{**conditions, name: asked}, limit=None)) == count


def test_one_run_is_found_by_its_ids(mixed: Place) -> None:
    with mixed.open() as source:
        for run in source.runs(limit=None):
            assert source.summary(run.trace_id, run.span_id) == run
        assert source.summary(run.trace_id, "0" * 16) is None
        assert source.summary(run.trace_id[:-1], run.span_id) is None
        assert source.summary("", "") is None


# --- alike runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


def test_the_nearest_runs_come_first_and_only_those_that_can_be_compared(place: Place) -> None:
    chance = np.random.default_rng(5)
    for version, length in (("2", 6), ("2-short", 4), ("20", 6), ("1", 6)):
        for start in range(6):
            place.add(spans_at([start], **{VECTOR: chance.uniform(0, 1, length).tolist(), VERSION: version}))
    same = {VECTOR: [0.5] * 6, VERSION: "2"}
    place.add(spans_at([50, 70, 60], **same, **{semconv.GEN_AI_REQUEST_MODEL: "org/other"}))
    place.add(make_spans())
    with place.open() as source:
        runs = [run for run in source.runs(limit=None) if get_fingerprint(source.load(run)).vector]
        newest, middle, oldest = runs[:3]
        found = source.similar(middle, 8)
        assert [(each.run, each.distance) for each in found[:2]] == [(newest, 0.0), (oldest, 0.0)]
        own = get_fingerprint(source.load(middle))
        prints = {run: get_fingerprint(source.load(run)) for run in runs if run != middle}
        able = {run: print_ for run, print_ in prints.items() if print_.version in ("2", "2-short")}
        expected = sorted((own.distance(print_), -run.start_ns, run.trace_id) for run, print_ in able.items())
        assert len(able) == 14
        assert [each.run.trace_id for each in found] == [trace_id for *_, trace_id in expected[:8]]
        assert [each.distance for each in found] == pytest.approx([distance for distance, *_ in expected[:8]])
        assert source.similar(source.load(middle), 8) == found
        assert [each.run for each in source.similar(middle, 9, RunFilter(model="org/other"))] == [newest, oldest]
        assert source.similar(middle, 1) == found[:1]


def test_a_run_without_a_fingerprint_has_none_that_are_alike(place: Place) -> None:
    place.add(make_spans())
    with place.open() as source, pytest.raises(StoreError, match="has no fingerprint"):
        source.similar(source.runs()[0])


def test_a_second_delivery_and_a_deletion_change_what_is_alike(tmp_path: Path) -> None:
    place = PLACES["sqlite"](tmp_path)
    spans = [*spans_at([1, 2, 3], **{VECTOR: [0.1, 0.2], VERSION: "2"})]
    place.add(spans)
    place.add(spans)
    with place.open() as source:
        first, *others = source.runs()
        assert [each.run for each in source.similar(first)] == others
        place.remove(others[0])
        assert [each.run for each in source.similar(first)] == others[1:]
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        assert connection.execute("SELECT count(*) FROM fingerprints").fetchone() == (2,)
        connection.execute("UPDATE fingerprints SET vector = x'00' WHERE span_id = ?", (others[1].span_id,))
        connection.commit()
    with place.open() as source:
        assert source.similar(first) == [], "damaged vectors are passed over"


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_query_that_takes_too_long_ends_with_an_error(tmp_path: Path) -> None:
    place = PLACES["sqlite"](tmp_path)
    place.add(spans_at(range(1, 1500)))
    with open_store(tmp_path / "runs.db", query_seconds=60) as source:
        assert source.counts().total == 1499
    with open_store(tmp_path / "runs.db", query_seconds=0) as source:
        uses: list[Any] = [source.counts, source.overview, lambda: source.runs(text="nobody", limit=None)]
        for use in uses:
            with pytest.raises(TimeLimitError, match=r"runs\.db: a query took too long; ask for fewer runs"):
                use()
