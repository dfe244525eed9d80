"""Streams that coroutines read."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, StepEvent
from opentelemetry_instrumentation_corevital.monitor.stream import Stream
from tests.support.leftovers import leftovers
from tests.support.scripted_tokens import scripted
from tests.support.stream_ends import ASYNC_ENDS, ENDLESS, working
from tests.support.tiny_models import prompt, tiny_model


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model(max_position_embeddings=32_768)


def test_steps_come_while_later_tokens_are_generated(model: Any) -> None:
    processor, options = scripted(5, 6, 7, waits_at=4)

    async def read() -> list[int]:
        tokens = list[int]()
        async for step in CoreVitalMonitor().stream(model, prompt(), max_new_tokens=8, **options):
            tokens.append(step.token_id)
            if len(tokens) == 3:
                processor.go_on.set()
        return tokens

    assert asyncio.run(read()) == [5, 6, 7, 5, 6, 7, 5, 6]
    assert not working()


def test_the_loop_goes_on_while_the_stream_waits(model: Any) -> None:
    processor, options = scripted(5, 6, 7, waits_at=2)

    async def read() -> tuple[int, int]:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while turns < 20:
                turns += 1
                await asyncio.sleep(0.005)
            processor.go_on.set()

        ticking = asyncio.create_task(tick())
        steps = [step async for step in CoreVitalMonitor().stream(model, prompt(), max_new_tokens=5, **options)]
        await ticking
        return len(steps), turns

    assert asyncio.run(read()) == (5, 20)


@pytest.mark.parametrize("end", ASYNC_ENDS, ids=[each.__name__ for each in ASYNC_ENDS])
def test_generation_ends_with_its_reader(model: Any, end: Any) -> None:
    before = leftovers(model)
    monitor = CoreVitalMonitor()

    async def read() -> None:
        await end(monitor.stream(model, prompt(), **ENDLESS))

    asyncio.run(read())
    gc.collect()
    assert leftovers(model) == before
    assert monitor.runs[0].stop_reason == "cancelled"


def test_an_error_comes_out_where_steps_are_awaited(model: Any) -> None:
    async def read(read_so_far: list[StepEvent]) -> None:
        stream = CoreVitalMonitor().stream(model, prompt(), max_new_tokens=-3)
        read_so_far.extend([step async for step in stream])

    read_so_far = list[StepEvent]()
    with pytest.raises(ValueError, match="max_new_tokens"):
        asyncio.run(read(read_so_far))
    assert not read_so_far


def test_a_loop_that_is_closed_ends_its_streams(model: Any) -> None:
    monitor = CoreVitalMonitor()
    loop = asyncio.new_event_loop()
    stream = monitor.stream(model, prompt(), buffer=1, **ENDLESS)
    task = loop.create_task(_read_to_the_end(stream))
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    del task, stream
    gc.collect()
    end = time.monotonic() + 10
    while working() and time.monotonic() < end:
        time.sleep(0.01)
    assert not working()


async def _read_to_the_end(stream: Stream) -> None:
    async for _ in stream:
        pass


def test_a_client_that_is_gone_ends_its_stream(model: Any) -> None:
    monitor = CoreVitalMonitor()
    application = FastAPI()

    @application.get("/")
    async def answer() -> StreamingResponse:
        async def told() -> AsyncIterator[str]:
            async for step in monitor.stream(model, prompt(), **ENDLESS):
                yield f"data: {step.token_id}\n\n"

        return StreamingResponse(told(), media_type="text/event-stream")

    asyncio.run(_ask_and_leave(application))
    leftovers()
    assert not working()
    assert monitor.runs[0].stop_reason == "cancelled"


async def _ask_and_leave(application: FastAPI) -> None:
    """Call an application as a server does whose client disconnects after the first lines."""
    sent = list[Any]()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not sent:
            await asyncio.sleep(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 4:
            gone.set()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": b"",
        "asgi": {"version": "3.0"},
    }
    await asyncio.wait_for(application(scope, receive, send), 30)
    assert len(sent) > 4
    await asyncio.sleep(0.1)
