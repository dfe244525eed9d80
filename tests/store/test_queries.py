"""Finding runs: which row is whose, how a run is named, and that lists stay cheap."""

import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import RandomIdGenerator, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import format_span_id, format_trace_id

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import (
    RunFilter,
    SQLiteSpanExporter,
    Store,
    StoreError,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.filters import FLAGS
from opentelemetry_instrumentation_corevital.store.span_rows import RUN_COLUMNS
from opentelemetry_instrumentation_corevital.store.stored_run import COLUMNS, RunSummary
from tests.support.run_sources import spans_at
from tests.support.spans import make_call, make_spans, rows, run_attributes

DAY_NS = 86_400 * 10**9


def stored(path: Path, *batches: list[ReadableSpan]) -> Path:
    exporter = SQLiteSpanExporter(str(path))
    for spans in batches:
        exporter.export(spans)
    exporter.shutdown()
    assert exporter.last_error is None
    return path


def trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return format_trace_id(span.context.trace_id)


def test_a_summary_mirrors_the_columns_of_the_table(tmp_path: Path) -> None:
    path = stored(tmp_path / "runs.db", make_spans())
    columns = {name for _, name, *_ in rows(path, "PRAGMA table_info(runs)")}
    assert columns == {*RUN_COLUMNS, "label"} == {*COLUMNS}
    assert {field.name for field in fields(RunSummary)} - {"others", "damage"} <= columns


def test_a_call_with_several_sequences_has_a_row_for_each_and_none_for_itself(tmp_path: Path) -> None:
    spans = make_call(3)
    path = stored(tmp_path / "runs.db", spans)
    assert rows(path, "SELECT count(*) FROM spans") == [(4,)]
    with open_store(path) as store:
        found = store.runs()
        trace = trace_id(spans[0])
        assert [(run.sequence_index, run.output_tokens) for run in found] == [(0, 7), (1, 8), (2, 9)]
        assert {(run.model, run.operation, run.input_tokens, run.finish_reason) for run in found} == {
            ("org/model", None, 4, "stop")
        }
        for name in (trace, trace[:4].upper(), "last"):
            with pytest.raises(StoreError, match=f"sequences are: {trace[:12]}:0, {trace[:12]}:1, {trace[:12]}:2"):
                store.run(name)
        assert store.run(f"{trace[:6]}:2").attributes["corevital.sequence.index"] == 2
        assert store.run("last:1").summary.sequence_index == 1
        with pytest.raises(StoreError, match=f"sequences are: {trace[:12]}:0"):
            store.run(f"{trace}:3")


def test_calls_of_one_trace_are_told_apart_by_their_spans(tmp_path: Path) -> None:
    exporter = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("")
    with tracer.start_as_current_span("agent") as agent:
        for start in (1_000, 2_000):
            tracer.start_span("chat", attributes=run_attributes(), start_time=start).end()
    provider.shutdown()
    with open_store(tmp_path / "runs.db") as store:
        newest, oldest = store.runs()
        assert store.run("last").summary == newest
        with pytest.raises(StoreError, match=f"several calls: {oldest.span_id}, {newest.span_id}; name one"):
            store.run(format_trace_id(agent.get_span_context().trace_id))
        assert store.run(oldest.span_id[:8]).summary == oldest


def test_a_beginning_that_fits_several_traces_lists_them(tmp_path: Path) -> None:
    class Ids(RandomIdGenerator):
        numbers = iter((0xABCD1 << 100, 0xABCD2 << 100))

        def generate_trace_id(self) -> int:
            return next(self.numbers)

    exporter = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    provider = TracerProvider(id_generator=Ids())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(2):
        provider.get_tracer("").start_span("chat", attributes=run_attributes()).end()
    provider.shutdown()
    with open_store(tmp_path / "runs.db") as store:
        first = f"{0xABCD1 << 100:032x}"
        with pytest.raises(StoreError, match="several runs begin so") as caught:
            store.run(first[:6])
        assert first in str(caught.value)
        assert f"{0xABCD2 << 100:032x}" in str(caught.value)
        assert store.run(first[:7]).summary.trace_id == first


def test_an_empty_store_and_unknown_names_are_told(tmp_path: Path) -> None:
    path = stored(tmp_path / "runs.db", make_spans(**{"corevital.steps.total": 1}))
    (span,) = make_spans()
    span_id = format_span_id(span.context.span_id)  # type: ignore[union-attr]
    with open_store(path) as store:
        for wrong, message in (("abc", "four"), (span_id, "holds no run"), ("last:x", "number of the sequence")):
            with pytest.raises(StoreError, match=message):
                store.run(wrong)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM runs")
    with open_store(path) as store, pytest.raises(StoreError, match="holds no run yet"):
        store.run("last")


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[Store, list[str]]]:
    """A store, and the statements that it runs."""
    with Store(stored(tmp_path / "runs.db", make_spans(3))) as store:
        statements: list[str] = []
        store._connection.set_trace_callback(statements.append)
        yield store, statements


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"model": "org/model"},
        {"risk_above": 0.1},
        {"longer_than": 1.0, "tokens_above": 3},
        {"since_ns": 5},
        {"stop_reason": "policy"},
        {"intervened": True},
        {"intervened": False},
        {"stop_reason": "eos", "intervened": True, "model": "org/model"},
        {"baseline_source": "learned"},
        {"prompt_hash": "abab"},
        {"experiment": "short"},
        {"request_hash": "cd" * 32},
        {"service": "tests"},
        {"experiment": "short", "service": "tests", "request_hash": "cd" * 32},
        *({"flag": flag} for flag in FLAGS),
        {"model": "org/model", "risk_above": 0.1, "flag": FLAGS[2], "since_ns": 5, "prompt_hash": "ab"},
    ],
)
def test_every_list_uses_an_index_and_no_json(traced: tuple[Store, list[str]], filters: dict[str, Any]) -> None:
    store, statements = traced
    store.runs(**filters)
    statements = list(statements)
    assert len(statements) == 2, "what is dated ahead comes behind"
    indexed = ("model", "flag", "stop_reason", "intervened", "experiment", "request_hash")
    alone = len(filters) == 1 and set(filters) <= set(indexed) and filters != {"intervened": False}
    for statement in statements:
        assert "json" not in statement.lower()
        assert "spans" not in statement
        plan = [detail for *_, detail in store._connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        (subquery,) = [index for index, detail in enumerate(plan) if detail.startswith("LIST SUBQUERY")]
        choice = plan[subquery + 1]
        assert ("USING INDEX runs_" if alone else "USING COVERING INDEX runs_filters") in choice, plan


MANY = {semconv.HEALTH_NAN: True, semconv.STOP_REASON: "policy", semconv.INTERVENTION_KIND: "stop"}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,200 runs."""
    starts = range(DAY_NS, DAY_NS + 1200)
    return stored(tmp_path_factory.mktemp("many") / "runs.db", spans_at(starts, **MANY))


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"model": "org/model"},
        {"level": "low"},
        {"flag": "nan_detected"},
        {"stop_reason": "policy"},
        {"intervened": True},
        {"risk_above": 0.1, "prompt_hash": "ab"},
        {"since_ns": 5, "until_ns": 2 * DAY_NS},
        {"model": "org/model", "until_ns": 2 * DAY_NS},
    ],
    ids=str,
)
def test_a_page_far_down_costs_what_the_first_one_does(many: Path, filters: dict[str, Any]) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    with Store(many) as store:
        store._connection.set_progress_handler(step, 10)
        costs, after = list[int](), None
        while True:
            steps = 0
            page = store.page(RunFilter(**filters), limit=50, after=after)
            costs.append(steps)
            assert len(costs) <= 24, "the list ends"
            if page.next is None:
                break
            after = page.next
        statements: list[str] = []
        store._connection.set_progress_handler(None, 0)
        store._connection.set_trace_callback(statements.append)
        store.page(RunFilter(**filters), limit=50, after=after)
        plan = [detail for *_, detail in store._connection.execute(f"EXPLAIN QUERY PLAN {statements[0]}")]
    assert len(costs) == 24
    assert max(costs) < 1.3 * costs[0], "steps of SQLite's machine"
    (subquery,) = [index for index, detail in enumerate(plan) if detail.startswith("LIST SUBQUERY")]
    assert "start_ns<?" in plan[subquery + 1], plan


@pytest.mark.parametrize("name", ["risk_above", "longer_than", "tokens_above", "since_ns", "until_ns"])
def test_a_filter_that_is_no_number_is_refused(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path / "runs.db", make_spans())
    with open_store(path) as store, pytest.raises(StoreError, match="not a number"):
        store.runs(**{name: float("nan")})
