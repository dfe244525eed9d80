"""Runs that go on, as pages get them: what the board knows, who is told, and what a stream sends."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from opentelemetry_instrumentation_corevital.dashboard import live_feed, live_view
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.dashboard.live_board import LiveBoard
from opentelemetry_instrumentation_corevital.dashboard.live_feed import LiveFeed, TooManyStreamsError
from opentelemetry_instrumentation_corevital.store import RunSource, StoreError, open_store
from tests.support.processes import wait_until
from tests.support.run_sources import MemorySource
from tests.support.step_logs import StepLogs, Telemetry

Events = list[tuple[str | None, str, Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def telemetry(path: Path) -> Iterator[Telemetry]:
    telemetry = Telemetry(path)
    yield telemetry
    telemetry.close()


@pytest.fixture
def client(path: Path, telemetry: Telemetry) -> TestClient:
    StepLogs(telemetry).end()  # there is a store
    return TestClient(application(DashboardSettings(str(path))), base_url="http://localhost")


def shown(path: Path, board: LiveBoard | None = None, later_ns: int = 0) -> dict[str, Any]:
    board = board or LiveBoard()
    with open_store(path) as store:
        board.update(store, time.time_ns() + later_ns)
    return board.shown()


def events(client: TestClient, address: str, **headers: str) -> Events:
    """Return id, name and data of the events of a stream that ends."""
    answer = client.get(address, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found: Events = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


# --- the board -------------------------------------------------------------------------------------------------------


def test_a_call_is_on_the_board_from_its_first_step_to_its_span(telemetry: Telemetry, path: Path) -> None:
    call, other, board = StepLogs(telemetry), StepLogs(telemetry, sequences=2), LiveBoard()
    call.step(3, warnings=["norm_jump"])
    (one,) = shown(path, board)["running"]
    assert one["id"] == f"{call.trace_id}/{call.span_id}"
    assert (one["name"], one["service"], one["steps"], one["sequences"]) == (call.trace_id[:12], "serve", 3, 1)
    assert (one["risk"], one["level"], one["warnings"]) == (0.04, "low", ["norm jump"])
    assert one["spark"].count(",") == 3
    other.step(1)
    call.step(60)
    first, second = shown(path, board)["running"]
    assert [first["steps"], first["level"], first["warnings"]] == [63, "high", []], "the newest is the first"
    assert second["sequences"] == 2
    call.end()
    board_after = shown(path, board)
    assert [each["id"] for each in board_after["running"]] == [second["id"]]
    (run,) = board_after["finished"]
    assert (run["id"], run["steps"], run["flags"]) == (first["id"], 63, ["repetition loop"])


def test_a_call_that_is_silent_for_ten_minutes_goes(telemetry: Telemetry, path: Path) -> None:
    StepLogs(telemetry).step()
    board = LiveBoard()
    assert len(shown(path, board)["running"]) == 1
    assert shown(path, board, later_ns=601 * 10**9)["running"] == []


def test_a_long_call_that_is_met_in_its_middle_is_not_read_from_its_start(telemetry: Telemetry, path: Path) -> None:
    call = StepLogs(telemetry)
    call.step(210)
    (one,) = shown(path)["running"]
    assert one["steps"] == 210
    assert one["spark"].count(",") == 60


def test_a_source_without_steps_has_finished_runs_only(telemetry: Telemetry, path: Path) -> None:
    StepLogs(telemetry).end()
    with open_store(path) as store:
        source = MemorySource([store.load(run) for run in store.runs()])
    board = LiveBoard()
    board.update(source, time.time_ns())
    assert board.shown()["running"] == []
    assert len(board.shown()["finished"]) == 1


# --- who is told -----------------------------------------------------------------------------------------------------


def opening(path: Path, opened: list[str] | None = None) -> Callable[[], Any]:
    @contextmanager
    def source() -> Iterator[RunSource]:
        if opened is not None:
            opened.append(threading.current_thread().name)
        with open_store(path) as store:
            yield store

    return source


def looking() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "corevital-dashboard-live"]


def test_pages_are_told_once_something_was_stored_and_nobody_looks_without_a_page(
    telemetry: Telemetry, path: Path
) -> None:
    call = StepLogs(telemetry)
    call.step()
    opened: list[str] = []
    feed = LiveFeed(opening(path, opened), most=2)

    async def pages() -> None:
        assert not looking()
        with feed.subscribed() as first, feed.subscribed() as second:
            with pytest.raises(TooManyStreamsError), feed.subscribed():
                pass
            assert await first.changed(10), "what goes on already"
            assert await second.changed(10)
            known = feed.shown()
            assert known is not None
            assert known["running"][0]["steps"] == 1
            assert not await first.changed(0.6), "nothing was stored"
            await asyncio.to_thread(call.step, 2)
            assert await first.changed(10)
            assert await second.changed(10)
            assert feed.shown()["running"][0]["steps"] == 3  # type: ignore[index]
            assert len(looking()) == 1, "one thread for all pages"

    asyncio.run(pages())
    assert set(opened) == {"corevital-dashboard-live"}
    wait_until(lambda: not looking())
    assert feed.open_streams == 0


def test_a_store_that_cannot_be_read_is_tried_again(
    telemetry: Telemetry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "_BROKEN_SECONDS", 0.05)
    StepLogs(telemetry).step()
    tried: list[int] = []

    @contextmanager
    def source() -> Iterator[RunSource]:
        tried.append(1)
        if len(tried) == 1:
            raise StoreError("another process has it")
        with open_store(path) as store:
            yield store

    async def page() -> None:
        with LiveFeed(source).subscribed() as news:
            assert await news.changed(20)

    asyncio.run(page())
    assert len(tried) == 2


def test_a_server_that_stops_ends_every_wait_at_once(telemetry: Telemetry, path: Path) -> None:
    StepLogs(telemetry).step()
    feed = LiveFeed(opening(path))

    async def page() -> float:
        with feed.subscribed() as news:
            assert await news.changed(10)
            start = time.monotonic()
            threading.Timer(0.1, feed.stop).start()
            assert await news.changed(60)
            assert news.stopped
            return time.monotonic() - start

    assert asyncio.run(page()) < 5
    assert feed.full, "no other page is let in"
    wait_until(lambda: not looking())


# --- what a stream sends ---------------------------------------------------------------------------------------------


def test_the_stream_of_a_call_has_its_steps_and_then_its_run(telemetry: Telemetry, client: TestClient) -> None:
    call = StepLogs(telemetry)
    call.step(3, warnings=["norm_jump"])
    call.end()
    address = f"/live/{call.trace_id}/{call.span_id}"
    (key, name, steps), (_, last, runs) = events(client, f"{address}/steps")
    assert (name, last) == ("steps", "over")
    assert [row[:4] for row in steps] == [[0, 0, 1.0, 0.0], [0, 1, 2.0, 1.0], [0, 2, 3.0, 2.0]]
    assert steps[1][-2:] == [["norm jump"], " history"]
    assert [run["id"] for run in runs] == [f"{call.trace_id}/{call.span_id}"]
    assert key is not None
    assert [each[1] for each in events(client, f"{address}/steps", last_event_id=key)] == ["over"], "it goes on behind"
    assert [each[1] for each in events(client, f"{address}/steps?behind={key}")] == ["over"]
    found = client.get(address, follow_redirects=False)
    assert (found.status_code, found.headers["location"]) == (303, f"/runs/{call.trace_id}/{call.span_id}")


def test_a_long_call_comes_in_pieces(telemetry: Telemetry, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "_MOST_STEPS", 20)
    call = StepLogs(telemetry, content=False)
    call.step(21)
    call.end()
    found = events(client, f"/live/{call.trace_id}/{call.span_id}/steps")
    assert [(name, len(data)) for _, name, data in found] == [("steps", 20), ("steps", 1), ("over", 1)]
    assert {row[-1] for row in found[0][2]} == {None}, "no text where none is stored"


def test_steps_that_come_after_their_span_are_waited_for(telemetry: Telemetry, client: TestClient) -> None:
    call = StepLogs(telemetry)
    call.step(2)
    call.steps = 4  # of which two are under way
    call.end()
    threading.Timer(0.5, lambda: [call.emit(step) for step in (3, 2)]).start()
    found = events(client, f"/live/{call.trace_id}/{call.span_id}/steps")
    assert [name for _, name, _ in found][-1] == "over"
    assert sorted(row[1] for _, name, rows in found if name == "steps" for row in rows) == [0, 1, 2, 3]


def test_the_page_of_a_call_that_goes_on_shows_nothing_of_another(telemetry: Telemetry, client: TestClient) -> None:
    call, other = StepLogs(telemetry), StepLogs(telemetry)
    call.step(2)
    other.step(9, warnings=["norm_jump"])
    page = client.get(f"/live/{call.trace_id}/{call.span_id}").text
    assert call.trace_id in page
    assert "step 2" in page
    assert other.trace_id not in page
    assert "norm jump" not in page


def test_the_list_says_what_goes_on_and_how_steps_come(telemetry: Telemetry, client: TestClient) -> None:
    empty = client.get("/live").text
    assert "No run goes on" in empty
    assert "OTEL_COREVITAL_STEP_EVENTS=logs" in empty
    call = StepLogs(telemetry)
    call.step(2)
    page = client.get("/live").text
    assert f'href="/live/{call.trace_id}/{call.span_id}"' in page
    assert "1 run goes on" in page
    assert "OTEL_COREVITAL_STEP_EVENTS=logs" not in page


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/live/x/y", 404),
        (f"/live/{'0' * 32}/{'0' * 16}", 404),
        (f"/live/{'0' * 32}/{'0' * 16}/steps", 404),
        ("/live?behind=1", 400),
        ("/live/events?behind=x", 400),
        (f"/live/{'%1b' * 32}/{'0' * 16}", 404),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, address: str, status: int) -> None:
    assert client.get(address).status_code == status
