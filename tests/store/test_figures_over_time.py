"""What runs show over time: counted by each source, held against the rows one by one."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import RunFilter, RunSource, RunSummary
from opentelemetry_instrumentation_corevital.store.figures_over_time import (
    MOST_MODELS,
    MOST_STRETCHES,
    Figures,
    FiguresOverTime,
    Stretches,
    figures_of,
)
from opentelemetry_instrumentation_corevital.store.runs_to_review import needs_review
from tests.support.run_sources import PLACES, Place, SQLitePlace, spans_at

HOUR_NS = 3600 * 10**9
NOW_NS = 1_000 * 24 * HOUR_NS


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


def add(place: Place, hours: Sequence[float], model: str | None, risk: float | None, **changes: Any) -> None:
    """Store runs that started so many hours before now."""
    level = None if risk is None else "high" if risk >= 0.7 else "low"
    said = {semconv.GEN_AI_REQUEST_MODEL: model, semconv.RISK_SCORE: risk, semconv.RISK_LEVEL: level, **changes}
    place.add(spans_at([NOW_NS - int(hour * HOUR_NS) for hour in hours], **said))


@pytest.fixture
def filled(place: Place) -> Place:
    add(place, [1, 1.1, 1.2, 30], "org/a", 0.1, **{semconv.ENTROPY_MEAN: 1.0})
    add(place, [1.3, 5, 40], "org/a", 0.8, **{semconv.ENTROPY_MEAN: 3.0, semconv.HEALTH_NAN: True})
    add(place, [2, 3], "org/b", 0.25, **{semconv.HEALTH_REPETITION_LOOP: None})
    add(place, [2.5], None, None)
    add(place, [-5], "org/ahead", 0.9)
    return place


def the_same(found: FiguresOverTime, slow: FiguresOverTime) -> None:
    assert found.starts_ns == slow.starts_ns
    assert found.width_ns == slow.width_ns
    assert [each.model for each in found.models] == [each.model for each in slow.models]
    pairs = [(found.total, slow.total)]
    pairs += [(found.stretches[number], slow.stretches[number]) for number in slow.stretches]
    for mine, theirs in zip(found.models, slow.models, strict=True):
        pairs += [(mine.total, theirs.total)]
        pairs += [(mine.stretches[number], theirs.stretches[number]) for number in theirs.stretches]
        assert mine.stretches.keys() == theirs.stretches.keys()
    assert found.stretches.keys() == slow.stretches.keys()
    for mine_of, theirs_of in pairs:
        assert mine_of.entropy == pytest.approx(theirs_of.entropy)
        for name in ("runs", "levels", "raised", "judged", "risk", "seconds"):
            assert getattr(mine_of, name) == getattr(theirs_of, name), name


def test_the_figures_are_those_of_the_rows(filled: Place) -> None:
    with filled.open() as source:
        found = source.figures_over_time(now_ns=NOW_NS)
        runs = [run for run in source.runs(limit=None) if run.start_ns <= NOW_NS]
    assert found.total.runs == len(runs) == 10
    assert found.total.levels == {"low": 6, "medium": 0, "high": 3}
    assert found.total.risk is not None
    assert (found.total.risk.runs, found.total.risk.median, found.total.risk.p90) == (9, 0.25, 0.8)
    assert found.total.seconds is not None
    assert (found.total.seconds.median, found.total.seconds.p90) == (1.0, 1.0)
    assert found.total.entropy == pytest.approx(fmean([1.0] * 4 + [3.0] * 3))
    assert found.total.fraction("nan_detected") == pytest.approx(0.3)
    assert found.total.judged["repetition_loop_detected"] == 8, "of two it is not known"
    assert found.total.fraction("attention_collapse_detected") is None, "judged in none"
    assert found.total.fraction_high() == pytest.approx(3 / 9), "of those whose level is known"
    assert [(each.model, each.total.runs) for each in found.models] == [("org/a", 7), ("org/b", 2), (None, 1)]


def test_every_run_is_in_the_stretch_that_it_started_in(filled: Place) -> None:
    with filled.open() as source:
        found = source.figures_over_time(now_ns=NOW_NS)
        runs = [run for run in source.runs(limit=None) if run.start_ns <= NOW_NS]
    assert found.width_ns == 2 * HOUR_NS
    for number, start in enumerate(found.starts_ns):
        inside = [run for run in runs if start <= run.start_ns < start + found.width_ns]
        assert found.stretches[number].runs == len(inside) if inside else number not in found.stretches
    assert sum(each.runs for model in found.models for each in model.stretches.values()) == len(runs)


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"model": "org/a"},
        {"level": "high"},
        {"since_ns": NOW_NS - 6 * HOUR_NS},
        {"since_ns": NOW_NS - 6 * HOUR_NS, "until_ns": NOW_NS - 2 * HOUR_NS},
        {"flag": "nan_detected", "tokens_above": 3},
        {"model": "nobody"},
    ],
)
def test_a_fast_way_gives_what_the_slow_way_gives(filled: Place, conditions: dict[str, Any]) -> None:
    wanted = RunFilter(**conditions)
    with filled.open() as source:
        the_same(
            source.figures_over_time(wanted, now_ns=NOW_NS), figures_of(source.runs(wanted, limit=None), wanted, NOW_NS)
        )


def test_the_range_that_was_asked_for_is_shown_even_where_nothing_ran(filled: Place) -> None:
    with filled.open() as source:
        found = source.figures_over_time(RunFilter(since_ns=NOW_NS - 24 * HOUR_NS), now_ns=NOW_NS)
    assert found.starts_ns[0] <= NOW_NS - 24 * HOUR_NS < found.starts_ns[0] + found.width_ns
    assert found.starts_ns[-1] <= NOW_NS < found.starts_ns[-1] + found.width_ns
    assert len(found.starts_ns) <= MOST_STRETCHES


def test_a_source_without_runs_shows_nothing(place: Place) -> None:
    add(place, [-5], "org/ahead", 0.9)
    with place.open() as source:
        found = source.figures_over_time(now_ns=NOW_NS)
    assert (found.starts_ns, found.models, found.total.runs) == ([], [], 0)
    assert (found.total.risk, found.total.seconds, found.total.entropy) == (None, None, None)


def test_rare_models_are_shown_together(place: Place) -> None:
    for index in range(MOST_MODELS + 2):
        add(place, range(1, 3 if index < MOST_MODELS else 2), f"org/{index}", 0.1)
    with place.open() as source:
        found = source.figures_over_time(now_ns=NOW_NS)
    assert [each.model for each in found.models] == [*(f"org/{index}" for index in range(MOST_MODELS)), None]
    assert [each.others for each in found.models] == [*[False] * MOST_MODELS, True]
    assert found.models[-1].total.runs == 2


@pytest.mark.parametrize("days", [0.0001, 0.01, 1, 7, 30, 365, 20_000])
def test_stretches_are_as_fine_as_can_be_drawn(days: float) -> None:
    stretches = Stretches.of(NOW_NS, NOW_NS + int(days * 24 * HOUR_NS))
    starts = stretches.starts_ns
    assert len(starts) <= MOST_STRETCHES
    assert starts[0] <= NOW_NS
    assert starts[-1] < stretches.until_ns <= starts[-1] + stretches.width_ns
    assert len(starts) > MOST_STRETCHES / 12 or days < 0.001


def test_quantiles_are_of_the_nearest_rank(place: Place) -> None:
    for risk in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        add(place, [1], "org/a", risk)
    with place.open() as source:
        risk_of = source.figures_over_time(now_ns=NOW_NS).total.risk
    assert risk_of is not None
    assert (risk_of.median, risk_of.p90) == (0.5, 0.9)


def test_damaged_values_count_as_not_measured(tmp_path: Path) -> None:
    place = SQLitePlace(tmp_path)
    add(place, [1, 2, 3, 4], "org/a", 0.5, **{semconv.ENTROPY_MEAN: 2.0})
    with closing(sqlite3.connect(place.path)) as connection:
        changes = ("risk_score = 'x'", "risk_score = 7.5, model = x'ff'", "end_ns = 'later', entropy_mean = -4")
        for index, change in enumerate(changes):
            start_ns = NOW_NS - (index + 1) * HOUR_NS
            connection.execute(f"UPDATE runs SET {change}, risk_level = 'dire' WHERE start_ns = {start_ns}")
        connection.commit()
    with place.open() as source:
        found: Figures = source.figures_over_time(now_ns=NOW_NS).total
        assert {each.model for each in source.figures_over_time(now_ns=NOW_NS).models} == {"org/a", None}
    assert found.runs == 4
    assert found.risk is not None
    assert (found.risk.runs, found.risk.median) == (2, 0.5)
    assert found.seconds is not None
    assert found.seconds.runs == 3
    assert found.entropy == 2.0
    assert found.levels == {"low": 1, "medium": 0, "high": 0}


def test_figures_are_read_from_an_index_alone(tmp_path: Path) -> None:
    place, asked = SQLitePlace(tmp_path), list[str]()
    add(place, [1, 2], "org/a", 0.5)
    with place.open() as source:
        connection: sqlite3.Connection = source._connection  # type: ignore[attr-defined]
        connection.set_trace_callback(asked.append)
        source.figures_over_time(RunFilter(level="low", since_ns=1), now_ns=NOW_NS)
        source.to_review(RunFilter(model="org/a"), limit=3)
        connection.set_trace_callback(None)
        plans = [[row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")] for sql in asked]
    assert len(plans) == 4
    for plan in plans[:2]:
        assert any("USING COVERING INDEX runs_filters" in step for step in plan), plan
    assert not any("SCAN runs" in step and "INDEX" not in step for plan in plans for step in plan)


# --- runs that need a review ---------------------------------------------------------------------------------------


def to_review(source: RunSource, **arguments: Any) -> list[RunSummary]:
    return [run for run in source.to_review(**arguments) if run.start_ns <= NOW_NS]


def test_runs_that_need_a_review_are_the_newest_with_high_risk_a_flag_or_an_error(place: Place) -> None:
    healthy = {semconv.HEALTH_REPETITION_LOOP: False}
    add(place, [5, 8], "org/a", 0.1, **healthy)
    add(place, [4], "org/a", 0.9, **healthy)
    add(place, [3, 7], "org/a", 0.1, **{**healthy, semconv.HEALTH_NAN: True})
    add(place, [6], "org/b", 0.1, **{**healthy, semconv.STOP_REASON: "error"})
    add(place, [2], "org/b", 0.1, **{**healthy, semconv.STOP_REASON: "cancelled"})

    def hours(runs: Sequence[RunSummary]) -> list[float]:
        return [(NOW_NS - run.start_ns) / HOUR_NS for run in runs]

    with place.open() as source:
        assert hours(to_review(source)) == [3, 4, 6, 7]
        assert hours(to_review(source, limit=2)) == [3, 4]
        assert hours(to_review(source, wanted=RunFilter(model="org/b"))) == [6]
        every = source.runs(limit=None)
        assert [run for run in every if needs_review(run)] == source.to_review(limit=99)


def test_a_source_is_read_page_by_page_until_there_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentelemetry_instrumentation_corevital.store.listed_runs.PAGE_RUNS", 2)
    place = PLACES["memory"](tmp_path)
    add(place, range(1, 8), "org/a", 0.1, **{semconv.HEALTH_REPETITION_LOOP: False})
    add(place, [5.5, 6.5], "org/a", 0.9)
    with place.open() as source:
        assert len(source.to_review(limit=1)) == 1
        assert len(source.to_review(limit=9)) == 2
