"""Who may come in, and when: requests wait for one of a few workers, and one too many is sent away at once."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from .answers import BUSY_SECONDS, DISK_SECONDS, Answer, Fault, Refused, RefusedError, RetryLater, busy
from .bodies import JSON, PROTOBUF, protobuf_of
from .intake import Intake
from .otlp_signals import OtlpSignal
from .prometheus_statistics import Statistics
from .sender_limits import Limits

T = TypeVar("T")


class BusyError(Exception):
    """Raised where there is no room for a request now."""

    def __init__(self, answer: RetryLater) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class Visit:
    """One request from its first byte to its answer, and the memory that it takes."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self.bytes = 0

    def grow(self, size: int) -> None:
        """Take room for bytes that have come.

        Raises:
            BusyError: if there is none.
        """
        if self._admission.waiting_bytes + size > self._admission.limits.waiting_bytes:
            raise BusyError(busy("too many bytes wait here."))
        self.bytes += size
        self._admission.waiting_bytes += size


class Admission:
    """Takes requests of both protocols. Used by one event loop.

    Args:
        intake: where requests are stored.
        limits: how many there may be.
        statistics: where they are counted.
    """

    def __init__(self, intake: Intake, limits: Limits, statistics: Statistics) -> None:
        self.intake = intake
        self.limits = limits
        self.statistics = statistics
        self.waiting_bytes = 0
        self.requests = 0
        self.stopping = False
        self._jobs = set[Future[Any]]()
        self._workers = ThreadPoolExecutor(limits.workers, "corevital-collect")
        self._large_worker = ThreadPoolExecutor(1, "corevital-collect-large")
        statistics.watch(lambda: self.waiting_bytes, lambda: self.requests, lambda: intake.healthy)

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """Count a request that comes in.

        Raises:
            BusyError: if there are too many, or the receiver is about to stop.
        """
        if self.stopping:
            raise BusyError(RetryLater("the receiver is stopping.", BUSY_SECONDS))
        if self.requests >= self.limits.requests:
            raise BusyError(busy("too many requests wait here."))
        self.requests += 1
        visit = Visit(self)
        try:
            yield visit
        finally:
            self.requests -= 1
            self.waiting_bytes -= visit.bytes

    async def take(
        self, signal: OtlpSignal, protocol: str, visit: Visit, body: bytes, encoding: str = "", kind: str = PROTOBUF
    ) -> Answer:
        """Store a request and return the answer to its sender.

        A sender that goes away does not end what a worker has begun.

        Raises:
            BusyError: if there is no room for it once it is decompressed.
        """
        started, packed, spent = time.perf_counter(), body, 0.0
        unpacked: Answer | tuple[bytes, float]
        if encoding or kind == JSON:
            large = kind == JSON and (bool(encoding) or len(body) > self.limits.large_bytes)
            unpacked = await self._run(large, _unpacked, body, encoding, kind, signal, self.limits)
            if not isinstance(unpacked, tuple):
                self.count(signal, protocol, unpacked, len(body), time.perf_counter() - started)
                return unpacked
            packed, spent = unpacked
            visit.grow(len(packed))
        answer = await self._run(len(packed) > self.limits.large_bytes, self.intake.take, signal, packed, spent)
        self.count(signal, protocol, answer, len(body), time.perf_counter() - started)
        return answer

    async def _run(self, large: bool, work: Callable[..., T], *arguments: Any) -> T | RetryLater:
        """Have a worker do something; give up if none begins in time, or if nobody waits for it any more."""
        job = (self._large_worker if large else self._workers).submit(work, *arguments)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        done = asyncio.wrap_future(job)
        try:
            await asyncio.wait((done,), timeout=self.limits.worker_seconds)
        except asyncio.CancelledError:
            job.cancel()  # else bodies that nobody waits for, or counts, would pile up here
            raise
        if job.cancel():  # a worker that has begun cannot be stopped
            return busy("too many requests wait here.")
        return await asyncio.shield(done)

    def count(self, signal: OtlpSignal, protocol: str, answer: Answer, size: int = 0, seconds: float = 0.0) -> None:
        """Count an answer."""
        self.statistics.answered(signal.name, protocol, answer, size, seconds)

    def close(self, timeout: float = 30.0) -> bool:
        """Wait for what is being stored, for at most `timeout` seconds; return whether all workers are at their end."""
        for workers in (self._workers, self._large_worker):
            workers.shutdown(wait=False, cancel_futures=True)
        return not wait(set(self._jobs), timeout).not_done


def _unpacked(
    body: bytes, encoding: str, kind: str, signal: OtlpSignal, limits: Limits
) -> tuple[bytes, float] | Answer:
    """Return the request in protobuf, and the processor's time that it took."""
    began = time.thread_time()
    try:
        return protobuf_of(body, encoding, kind, signal, limits), time.thread_time() - began
    except RefusedError as error:
        return error.answer
    except MemoryError:
        return RetryLater("no memory is left.", DISK_SECONDS)
    except Exception as error:  # a body that no parser foresaw is not one of OTLP
        return Refused(Fault.MALFORMED, f"the body cannot be read ({type(error).__name__}).")
