"""The pages of runs that go on: `/live`, which lists them, and one for each that grows until it is over."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ..assessment.thresholds import DEFAULT
from ..catalogue.signals import signal
from ..store import RunSource, RunSummary, StoreError
from ..store.arriving_steps import HOW_STEPS_COME, RunningCall
from ..store.checked_attributes import is_id
from .addresses import Query, run_path
from .dashboard import Dashboard
from .event_stream import HEARTBEAT, HEARTBEAT_SECONDS, event, heard_until, stream, too_many_streams
from .live_board import (
    EMPTY_CALL,
    EMPTY_RUN,
    STEP_FIELDS,
    STEP_SIGNALS,
    CallSoFar,
    LiveBoard,
    finished_run,
    step_rows,
)
from .live_feed import LiveFeed, Subscription, TooManyStreamsError
from .request_errors import NotFoundError

_MOST_STEPS: Final = 1000
"""Steps of one event."""
_LATE_SECONDS: Final = 3.0
"""How long steps are waited for that come after their call's span."""
_LAST_STEPS: Final = 200


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """Return the routes of this view."""
    view = _Live(dashboard)
    call = "/live/{trace_id}/{span_id}"
    return [
        Route("/live", view.list_page),
        Route("/live/events", view.list_events),
        Route(call, view.call_page),
        Route(f"{call}/steps", view.call_events),
    ]


class _Live:
    """Answers the requests of this view."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._feed = LiveFeed(dashboard.source)
        dashboard.at_stop(self._feed.stop)

    # --- the list ------------------------------------------------------------------------------------------------

    def list_page(self, request: Request) -> Response:
        Query.read(request.query_params)
        with self._dashboard.source() as source:
            board, steps_come = board_of(source), source.has_live_steps()
        count = len(board["running"])
        return self._dashboard.page(
            request,
            "live/list.html.j2",
            board=board,
            steps_come=steps_come,
            how_steps_come=HOW_STEPS_COME,
            said="No run goes on" if not count else "1 run goes on" if count == 1 else f"{count} runs go on",
            empty_call=EMPTY_CALL,
            empty_run=EMPTY_RUN,
        )

    async def list_events(self, request: Request) -> Response:
        heard_until(request)  # the whole list is sent each time, whatever was heard of it
        return self._stream(self._boards)

    async def _boards(self, news: Subscription) -> AsyncIterator[bytes]:
        sent: dict[str, Any] | None = None
        while not news.stopped:
            shown = self._feed.shown()
            if shown is not None and shown != sent:
                sent = shown
                yield event("board", shown)
            if not await news.changed(HEARTBEAT_SECONDS):
                yield HEARTBEAT

    # --- one call ------------------------------------------------------------------------------------------------

    def call_page(self, request: Request) -> Response:
        Query.read(request.query_params)
        with self._dashboard.source() as source:
            call = _find(source, request)
            ended = source.runs_of(call)
            if ended:
                return RedirectResponse(run_path(ended[0]), 303)
            so_far = CallSoFar(call, max(0, call.last_key - _LAST_STEPS))
            so_far.read(source)
        return self._dashboard.page(
            request,
            "live/run.html.j2",
            call=so_far.shown(),
            stream=f"{request.url.path}/steps",
            signals=[_described(name) for name in STEP_SIGNALS],
            fields=STEP_FIELDS,
            levels=[DEFAULT.risk_medium, DEFAULT.risk_high],
        )

    async def call_events(self, request: Request) -> Response:
        Query.read(request.query_params, others=("behind",))
        behind = heard_until(request)
        call = await run_in_threadpool(self._call, request)

        async def events(news: Subscription) -> AsyncIterator[bytes]:
            reading = _CallReader(self._dashboard, call, behind)
            while not news.stopped:
                found = await run_in_threadpool(reading.next)
                for each in found:
                    yield each
                if reading.over:
                    return
                if not reading.more and not await news.changed(reading.patience):
                    yield HEARTBEAT

        return self._stream(events)

    def _call(self, request: Request) -> RunningCall:
        with self._dashboard.source() as source:
            return _find(source, request)

    def _stream(self, events: Callable[[Subscription], AsyncIterator[bytes]]) -> Response:
        if self._feed.full:
            return too_many_streams()

        async def while_subscribed() -> AsyncIterator[bytes]:
            with suppress(TooManyStreamsError), self._feed.subscribed() as news:  # only what is sent has a place
                async for each in events(news):
                    yield each

        return stream(while_subscribed())


class _CallReader:
    """Reads the steps of a call, as far as a page has not got them.

    Args:
        dashboard: whose store has them.
        call: of which.
        behind: the key of the last step that the page got.
    """

    def __init__(self, dashboard: Dashboard, call: RunningCall, behind: int) -> None:
        self._dashboard = dashboard
        self._call = call
        self._behind = behind
        self._again = behind > 0
        self._steps: dict[int, int] = {}
        self._ended_at: float | None = None
        self.more = False
        """Whether more steps are there already."""
        self.over = False
        """Whether nothing comes any more."""

    @property
    def patience(self) -> float:
        """Return for how many seconds news are worth waiting for."""
        return HEARTBEAT_SECONDS if self._ended_at is None else _LATE_SECONDS / 4

    def next(self) -> list[bytes]:
        """Return events with what is new."""
        try:
            with self._dashboard.source() as source:
                return list(self._read(source))
        except StoreError:  # it is told where it is shown; a later look may succeed
            self.more = False
            return []

    def _read(self, source: RunSource) -> Iterator[bytes]:
        ended = source.runs_of(self._call)  # before the steps: those that came before the span are read then
        steps = source.live_steps(self._call, self._behind, limit=_MOST_STEPS)
        self.more = len(steps) == _MOST_STEPS
        if steps:
            self._behind = steps[-1].key
            for step in steps:
                self._steps[step.sequence_index] = max(self._steps.get(step.sequence_index, 0), step.step_index + 1)
            yield event("steps", step_rows(steps), self._behind)
        if ended is None or self.more:
            return
        self._ended_at = self._ended_at or time.monotonic()
        late = any(self._has(run) < (run.output_tokens or 0) for run in ended)
        if not late or time.monotonic() - self._ended_at > _LATE_SECONDS:
            self.over = True
            yield event("over", [{**finished_run(run), "sequence": run.sequence_index} for run in _linked(ended)])

    def _has(self, run: RunSummary) -> int:
        """Return how many steps of a sequence have come; of one that the page had before, as many as there are."""
        return self._steps.get(run.sequence_index, (run.output_tokens or 0) if self._again else 0)


def board_of(source: RunSource) -> dict[str, Any]:
    """Return what goes on in a store now, for a page that is made; nothing where it gets no steps."""
    board = LiveBoard()
    board.update(source, time.time_ns())
    return board.shown()


def _find(source: RunSource, request: Request) -> RunningCall:
    """Return the call that an address names.

    Raises:
        NotFoundError: if the store has no step of it.
    """
    trace_id, span_id = request.path_params["trace_id"], request.path_params["span_id"]
    if is_id(trace_id, 32) and is_id(span_id, 16) and source.has_live_steps():
        for call in source.live_calls_named(trace_id):
            if (call.trace_id, call.span_id) == (trace_id, span_id):
                return call
    raise NotFoundError("The store has no step of such a run. " + HOW_STEPS_COME)


def _linked(runs: list[RunSummary]) -> list[RunSummary]:
    return [run for run in runs if is_id(run.trace_id, 32) and is_id(run.span_id, 16)]


def _described(name: str) -> dict[str, str]:
    if name in ("risk_so_far", "answer_so_far"):
        return {"name": name, "title": "Risk so far" if name == "risk_so_far" else "Answer risk so far", "unit": ""}
    known = signal(name)
    title = name.replace("_", " ") if known.timeline is None else known.timeline.title
    return {"name": name, "title": title[:1].upper() + title[1:], "unit": "" if known.unit == "1" else known.unit}
