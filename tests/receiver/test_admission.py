"""Who waits for a worker, for how long, and what becomes of a request that its sender has called off."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.receiver.admission import Admission
from opentelemetry_instrumentation_corevital.receiver.answers import Accepted, Answer, RetryLater
from opentelemetry_instrumentation_corevital.receiver.intake import Intake
from opentelemetry_instrumentation_corevital.receiver.otlp_signals import SIGNALS
from opentelemetry_instrumentation_corevital.receiver.prometheus_statistics import Statistics
from opentelemetry_instrumentation_corevital.receiver.sender_limits import Limits
from opentelemetry_instrumentation_corevital.store import StoreWriter
from tests.support.collect_process import spans_request
from tests.support.spans import rows


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A store whose file another program locks."""
    file = tmp_path / "store.db"
    with closing(StoreWriter(file)) as writer:
        writer.store([])
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield file


def visited(path: Path, limits: Limits, play: Callable[[Callable[[int], Awaitable[Answer]]], Awaitable[None]]) -> None:
    """Have a play send requests, each with a span of its own number, to an admission."""

    async def run() -> None:
        writer = StoreWriter(path, patience=2.0)
        admission = Admission(Intake(writer, limits), limits, Statistics())

        async def send(number: int) -> Answer:
            with admission.visit() as visit:
                return await admission.take(
                    SIGNALS[0], "http", visit, spans_request(1, seed=number).SerializeToString()
                )

        await play(send)
        await asyncio.to_thread(admission.close)
        assert (admission.requests, admission.waiting_bytes) == (0, 0)
        writer.close()

    asyncio.run(run())


def test_who_waits_too_long_for_a_worker_is_told_so_while_the_worker_is_still_at_it(path: Path) -> None:
    async def play(send: Callable[[int], Awaitable[Answer]]) -> None:
        first = asyncio.ensure_future(send(1))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        assert await send(2) == RetryLater("too many requests wait here.", 1, busy=True)
        assert time.monotonic() - started < 1
        assert not first.done()
        assert await first == RetryLater("the store cannot be written.", 5)

    visited(path, Limits(workers=1, worker_seconds=0.2), play)


def test_a_request_that_was_called_off_is_not_kept_waiting(tmp_path: Path) -> None:
    file = tmp_path / "store.db"

    async def play(send: Callable[[int], Awaitable[Answer]]) -> None:
        with closing(sqlite3.connect(file)) as other:
            assert await send(1) == Accepted()
            other.execute("BEGIN IMMEDIATE")
            begun = asyncio.ensure_future(send(2))
            await asyncio.sleep(0.1)
            called_off = [asyncio.ensure_future(send(number)) for number in range(3, 9)]
            await asyncio.sleep(0.1)
            for each in (begun, *called_off):
                each.cancel()
            await asyncio.sleep(0.1)
            other.rollback()
        assert await send(9) == Accepted()

    visited(file, Limits(workers=1), play)
    found = {int(trace_id, 16) - 1 for (trace_id,) in rows(file, "SELECT trace_id FROM spans")}
    assert found == {1, 2, 9}
