"""Ways in which the reader of a stream goes away: in each of them generation has to end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, Final

import pytest

from opentelemetry_instrumentation_corevital.monitor.stream import Stream

ENDLESS: Final[dict[str, Any]] = {"max_new_tokens": 20_000, "do_sample": True, "eos_token_id": 999}
"""Keywords of generate() for a run that does not end by itself."""


def working() -> list[str]:
    """Return the names of the threads that generate for streams."""
    return [thread.name for thread in threading.enumerate() if thread.name == "corevital-generate"]


def has_ended(stream: Stream) -> bool:
    """Return whether the thread that generated for a stream is gone; threads of earlier ones may end later."""
    thread = stream._worker._thread
    return thread is not None and not thread.is_alive()


def _break(stream: Stream) -> None:
    for step in stream:
        if step.step_index == 2:
            break


def _close(stream: Stream) -> None:
    next(stream)
    stream.close()
    stream.close()


def _leave_block(stream: Stream) -> None:
    with stream:
        next(stream)


def _raise(stream: Stream) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for step in stream:
            step.step_index / 0


def _take_some(stream: Stream) -> None:
    assert len(list(islice(stream, 3))) == 3


ENDS: Final[list[Callable[[Stream], None]]] = [_break, _close, _leave_block, _raise, _take_some]


async def _cancelled_while_it_waits(stream: Stream) -> None:
    async def read() -> None:
        async for _ in stream:
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert has_ended(stream)


async def _cancelled_in_the_loop_s_body(stream: Stream) -> None:
    async def read() -> None:
        async for _ in stream:
            await asyncio.sleep(30)

    task = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _timed_out(stream: Stream) -> None:
    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(0.1):
            async for _ in stream:
                pass


async def _broken_off(stream: Stream) -> None:
    async for step in stream:
        if step.step_index == 2:
            break


async def _closed(stream: Stream) -> None:
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    assert has_ended(stream)


async def _block_left(stream: Stream) -> None:
    async with stream:
        await anext(stream)
    assert has_ended(stream)


async def _exception(stream: Stream) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async for step in stream:
            step.step_index / 0


ASYNC_ENDS: Final[list[Callable[[Stream], Awaitable[None]]]] = [
    _cancelled_while_it_waits,
    _cancelled_in_the_loop_s_body,
    _timed_out,
    _broken_off,
    _closed,
    _block_left,
    _exception,
]
