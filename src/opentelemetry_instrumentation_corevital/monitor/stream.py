"""Streams of steps: one object that coroutines and threads iterate over, and whose end is the end of generation."""

import asyncio
import contextvars
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ..assessment.step_event import StepEvent
from .readings import Readings
from .step_queue import End, StepQueue
from .watched_call import WatchedCall
from .worker import Worker

Generating = Callable[[Callable[[], bool]], Any]
"""Generates until it is told to end; returns what generate() returns."""


class Stream(Readings):
    """The steps of one run, generated in a thread of its own, which begins at once.

        for step in monitor.stream(model, "Once upon a time", max_new_tokens=100):
            print(step.token_text, end="")

        async for step in monitor.stream(model, "Once upon a time", max_new_tokens=100):
            print(step.token_text, end="")

    Each step comes while later tokens are generated. Generation ends within one step where its reader does: by `break`
    or an exception in the loop, by `close()` or `aclose()`, at the end of a `with` block, where the reading task is
    cancelled, and where nothing refers to the stream any more. Its span then has the stop reason `cancelled`. What
    generate() raises is raised where steps are read, after the last one.

    A loop over the stream is its only one: leaving it closes the stream. Take single steps with `next()` or `anext()`.
    After a rollback the steps come again, from an earlier `step_index` on.

    What can be asked of a monitor can be asked of a stream, too, and is of its own run then, whatever other runs its
    monitor has: `get_risk_so_far()`, `get_summary()` and the others.

    Raises, where steps are read:
        Exception: whatever generate(), the tokenizer or loading the model raised.
        RuntimeError: in a forked child, if the parent has begun the stream; in a callback of its own run.
    """

    def __init__(
        self,
        call: WatchedCall,
        generating: Generating,
        settings: Callable[[], Any],
        queue: StepQueue,
    ) -> None:
        self._call = call
        self._options = settings
        self._process = os.getpid()
        worker = self._worker = Worker(lambda: generating(worker.is_cancelled), queue)
        worker.start(contextvars.copy_context())

    # --- what is known of it -----------------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Return how many steps made room for later ones and were never read (`overflow="drop_oldest"`)."""
        return self._worker.queue.dropped

    @property
    def result(self) -> Any:
        """Return what generate() returned; None until then."""
        return self._worker.result

    def _live(self) -> WatchedCall | None:
        return self._call

    def _finished(self) -> WatchedCall | None:
        return self._call if self._worker.queue.over else None

    def _why_unfinished(self) -> str:
        return "no run has finished yet: read this one to its end, or end it with close() or `await aclose()`"

    def _settings(self) -> Any:
        return self._options()

    # --- reading it --------------------------------------------------------------------------------------------------

    def __iter__(self) -> "_Reading":
        return _Reading(self)

    def __aiter__(self) -> "_AsyncReading":
        return _AsyncReading(self)

    def __next__(self) -> StepEvent:
        self._check_process()
        if self._worker.is_here:
            raise RuntimeError("a callback cannot read the steps of its own run, which waits for it")
        try:
            step = self._worker.queue.wait()
        except BaseException:  # Ctrl-C, while it waited
            self.close()
            raise
        if isinstance(step, End):
            self._worker.join()
            self._worker.raise_error()
            raise StopIteration
        return step

    async def __anext__(self) -> StepEvent:
        self._check_process()
        worker = self._worker
        try:
            while (step := worker.queue.take()) is End.NOTHING_YET:
                await worker.changed()
            if isinstance(step, End):
                await worker.ended()
        except asyncio.CancelledError:
            worker.cancel()
            await worker.ended()
            raise
        except BaseException:  # the coroutine is dropped
            worker.cancel()
            raise
        if isinstance(step, End):
            worker.raise_error()
            raise StopAsyncIteration
        return step

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("this stream was begun by the process that has forked this one, and generates there")

    # --- ending it ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End generation, if it goes on, and wait for that, at most for about a step. What it raised is dropped."""
        if os.getpid() == self._process:
            self._worker.cancel()
            self._worker.join()

    async def aclose(self) -> None:
        """Do what `close()` does, without keeping the event loop."""
        if os.getpid() == self._process:
            self._worker.cancel()
            await self._worker.ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._abandon()

    def _abandon(self) -> None:
        worker = getattr(self, "_worker", None)  # none where the constructor has failed
        if worker is not None and not sys.is_finalizing() and os.getpid() == self._process:
            worker.abandon()


class WrappedGeneration(Stream):
    """A stream as a block: leaving it waits for the run's end, or ends the run where an exception leaves it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the run's end; raise what generate() raised. Where an exception leaves the block, end the run."""
        if kind is not None:
            self.close()
            return
        self._worker.queue.close()  # nobody reads the steps any more
        self._worker.join()
        self._worker.raise_error()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do what `__exit__` does, without keeping the event loop."""
        if kind is not None:
            await self.aclose()
            return
        self._worker.queue.close()
        try:
            await self._worker.ended()
        except BaseException:
            self._worker.cancel()
            raise
        self._worker.raise_error()


class _Reading:
    """A loop over a stream: when it is left, however that comes, nothing refers to this any more."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StepEvent:
        return next(self._stream)

    def __del__(self) -> None:
        self._stream._abandon()


class _AsyncReading:
    """The same of a loop in a coroutine."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StepEvent:
        return await anext(self._stream)

    def __del__(self) -> None:
        self._stream._abandon()
