"""Steps of calls that go on: what a source has of them before their spans come."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import RunSource, StoreError, open_store
from opentelemetry_instrumentation_corevital.store.arriving_steps import RunningCall
from tests.support.logs_and_metrics import log
from tests.support.run_sources import MemorySource
from tests.support.step_logs import StepLogs, Telemetry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def telemetry(path: Path) -> Iterator[Telemetry]:
    telemetry = Telemetry(path)
    yield telemetry
    telemetry.close()


def named(calls: list[RunningCall]) -> list[str]:
    return [call.span_id for call in calls]


def test_a_call_goes_on_from_its_first_step_to_its_span(telemetry: Telemetry, path: Path) -> None:
    first, second = StepLogs(telemetry), StepLogs(telemetry)
    first.step()
    with open_store(path) as store:
        assert store.has_live_steps()
        (call,) = store.live_calls()
        assert (call.trace_id, call.span_id, call.service_name) == (first.trace_id, first.span_id, "serve")
        assert abs(time.time_ns() - call.arrived_ns) < 60 * 10**9
        assert store.runs_of(call) is None
        assert store.runs() == [], "no run is listed before it is judged"
        second.step(2)
        assert named(store.live_calls()) == [first.span_id, second.span_id]
        first.step()
        calls = store.live_calls()
        assert named(calls) == [second.span_id, first.span_id], "the one with the newest step is the last"
        assert store.live_calls(calls[-1].last_key) == []
        assert store.live_calls(since_ns=time.time_ns() + 10**9) == []
        second.step()
        assert named(store.live_calls(calls[-1].last_key)) == [second.span_id]
        first.end()
        assert named(store.live_calls()) == [second.span_id]
        assert store.runs_of(call) == store.runs(limit=1)
        second.end()
        assert store.live_calls() == []


def test_steps_come_once_in_order_behind_a_key(telemetry: Telemetry, path: Path) -> None:
    call, other = StepLogs(telemetry), StepLogs(telemetry)
    call.step(5)
    other.step(3)
    with open_store(path) as store:
        (live,) = store.live_calls_named(call.trace_id)
        steps = store.live_steps(live)
        assert [step.step_index for step in steps] == list(range(5))
        assert [step.key for step in steps] == sorted({step.key for step in steps})
        assert (steps[3].entropy, steps[3].surprisal, steps[3].risk_so_far) == (4.0, 3.0, 0.06)
        assert (steps[3].token_text, steps[3].sequence_index, steps[3].warning_signals) == (" the", 0, ())
        assert [step.step_index for step in store.live_steps(live, steps[1].key, limit=2)] == [2, 3]
        assert store.live_steps(live, steps[-1].key) == []
        call.step(2, warnings=["norm_jump"])
        later = store.live_steps(live, steps[-1].key)
        assert [(step.step_index, step.warning_signals) for step in later] == [(5, ("norm_jump",)), (6, ("norm_jump",))]


def test_several_sequences_are_one_call(telemetry: Telemetry, path: Path) -> None:
    call = StepLogs(telemetry, sequences=3)
    call.step(2)
    with open_store(path) as store:
        (live,) = store.live_calls()
        steps = store.live_steps(live)
        assert [(step.step_index, step.sequence_index) for step in steps] == [
            (s, i) for s in range(2) for i in range(3)
        ]
        call.end()
        runs = store.runs_of(live)
        assert runs is not None
        assert [(run.sequence_index, run.output_tokens) for run in runs] == [(0, 2), (1, 2), (2, 2)]


def test_what_was_not_told_is_none(telemetry: Telemetry, path: Path) -> None:
    StepLogs(telemetry, content=False).step(1, risk_so_far=None, entropy=None, surprisal=None)
    with open_store(path) as store:
        (step,) = store.live_steps(store.live_calls()[0])
    assert (step.token_text, step.risk_so_far, step.warning_signals) == (None, None, None)
    assert (step.entropy, step.surprisal, step.flags) == (None, None, None)


def test_a_call_is_found_by_the_beginning_of_its_ids(telemetry: Telemetry, path: Path) -> None:
    first = StepLogs(telemetry)
    second = StepLogs(telemetry, parent=first.context)
    for call in (first, second):
        call.step()
    with open_store(path) as store:
        assert named(store.live_calls_named(first.trace_id[:6])) == [first.span_id, second.span_id]
        assert named(store.live_calls_named(second.span_id[:8])) == [second.span_id]
        assert store.live_calls_named("g" * 4) == []
        first.end()
        assert named(store.live_calls()) == [second.span_id]
        (live,) = store.live_calls_named(second.span_id)
        assert store.runs_of(live) is None, "another call of the trace is over"


def test_what_is_no_step_is_left_out(telemetry: Telemetry, path: Path) -> None:
    call = StepLogs(telemetry)
    call.step()
    call.emit(1, entropy=-5.0, surprisal="much", warnings="norm_jump", risk_so_far=7.0, token_text=3)
    call.emit(2, index=None)
    call.emit(3, index="three")
    telemetry.logger.emit(log(context=call.context, event_name="another.event"))
    telemetry.logger.emit(log(event_name=semconv.STEP_EVENT, attributes={semconv.STEP_INDEX: 0}))  # of no span
    with closing(sqlite3.connect(path)) as connection, connection:
        copied = "observed_ns, event_name, attributes, resource_id, scope_id, ingested_ns"
        for trace_id, attributes in (("\x1b[2J", "attributes"), (f"'{call.trace_id}'", "'[1]'")):
            connection.execute(
                f"INSERT INTO logs (trace_id, span_id, {copied}) SELECT ?, span_id, "
                f"{copied.replace('attributes', attributes)} FROM logs WHERE trace_id IS NOT NULL LIMIT 1",
                (trace_id.strip("'"),),
            )
    with open_store(path) as store:
        (live,) = store.live_calls()
        steps = store.live_steps(live)
        assert [step.step_index for step in steps] == [0, 1]
        damaged = steps[1]
        assert (damaged.entropy, damaged.surprisal, damaged.risk_so_far) == (None, None, None)
        assert (damaged.warning_signals, damaged.token_text) == (None, None)


def test_nothing_is_asked_of_every_step_that_was_ever_stored(telemetry: Telemetry, path: Path) -> None:
    """The questions of every look: each uses the rows' order or an index that leads to the call."""
    from opentelemetry_instrumentation_corevital.store import sqlite_arriving_steps

    call = StepLogs(telemetry)
    call.step()
    asked: list[str] = []
    with closing(sqlite3.connect(path)) as connection:
        (live,) = sqlite_arriving_steps.going_on(connection, 0, 0)
        connection.set_trace_callback(asked.append)
        sqlite_arriving_steps.going_on(connection, 1, 0)
        sqlite_arriving_steps.steps_of(connection, live, 1, 10)
        sqlite_arriving_steps.start_of_span(connection, live)
        connection.set_trace_callback(None)
        plans = [
            [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}") if "logs" in row[3]]
            for statement in asked
        ]
    assert len(plans) == 4
    for plan in plans:
        assert not [line for line in plan if line.startswith("SCAN logs")], plan
    assert any("USING INTEGER PRIMARY KEY" in line for line in plans[1])
    assert any("logs_span" in line and "rowid>" in line for line in plans[2])


def test_a_source_that_gets_no_steps_says_so() -> None:
    source: RunSource = MemorySource([])
    assert not source.has_live_steps()
    call = RunningCall("0" * 32, "0" * 16, "", 1, 1)
    for ask in (source.live_calls, lambda: source.live_steps(call), lambda: source.runs_of(call)):
        with pytest.raises(StoreError, match="memory://runs: gets its runs when they are over"):
            ask()
    with pytest.raises(StoreError, match="nothing to watch"):
        source.live_calls_named("abcd")


def test_a_change_is_told_without_asking_what_changed(telemetry: Telemetry, path: Path) -> None:
    call = StepLogs(telemetry)
    call.step()
    with open_store(path) as store:
        mark = store.change_mark()
        assert mark is not None
        assert store.change_mark() == mark
        call.step()
        later = store.change_mark()
        assert later != mark
        store.live_calls()
        assert store.change_mark() == later, "reading changes nothing"
    assert MemorySource([]).change_mark() is None


def test_runs_are_listed_by_when_they_came(telemetry: Telemetry, path: Path) -> None:
    first = StepLogs(telemetry)  # it starts first, and ends after what has not begun yet
    before = time.time_ns()
    second = StepLogs(telemetry)
    second.end()
    first.end()
    with open_store(path) as store:
        assert [run.span_id for run in store.arrived(before)] == [second.span_id, first.span_id]
        assert len(store.arrived(before, limit=1)) == 1
        assert store.arrived(time.time_ns() + 10**9) == []
        memory = MemorySource([store.load(run) for run in store.runs()])
    assert [run.span_id for run in memory.arrived(0)] == [second.span_id, first.span_id]


def test_arrivals_are_found_by_an_index(telemetry: Telemetry, path: Path) -> None:
    from opentelemetry_instrumentation_corevital.store import sqlite_arriving_steps

    StepLogs(telemetry).end()
    with closing(sqlite3.connect(path)) as connection:
        asked = f"EXPLAIN QUERY PLAN SELECT * FROM runs {sqlite_arriving_steps.ARRIVED}"
        plan = [row[3] for row in connection.execute(asked, (0, 5))]
    assert not [line for line in plan if line.startswith("SCAN runs") or line.startswith("SCAN spans")], plan
