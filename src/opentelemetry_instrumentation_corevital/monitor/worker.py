"""The thread in which a stream's run is generated. It never refers to the stream, so that an abandoned one is freed."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final

from .step_queue import StepQueue

_ABANDONED_SECONDS: Final = 10.0
"""How long who drops a stream waits for its thread, which ends within a step in any case."""


class Worker:
    """Generates in a thread of its own, until it is done or cancelled.

    Args:
        work: what it does; it asks `is_cancelled` at every step.
        queue: gets the steps.
    """

    def __init__(self, work: Callable[[], Any], queue: StepQueue) -> None:
        self.queue: Final = queue
        self.result: Any = None
        """What `work` returned."""
        self._error: BaseException | None = None
        self._cancelled = threading.Event()
        self._work: Callable[[], Any] | None = work
        self._thread: threading.Thread | None = None

    def start(self, context: Context) -> None:
        """Begin, with context variables as they are in `context`."""
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="corevital-generate")
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._work is not None and not self.is_cancelled():
                self.result = self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._work = None
            self.queue.finish()

    def is_cancelled(self) -> bool:
        """Whether it is to end: somebody wants that, or the program ends and waits for its threads."""
        return self._cancelled.is_set() or not threading.main_thread().is_alive()

    def cancel(self) -> None:
        """Have it end within a step; its further steps are read by nobody."""
        self._cancelled.set()
        self.queue.close()

    def raise_error(self) -> None:
        """Raise what ended the work, once."""
        error, self._error = self._error, None
        if isinstance(error, StopIteration | StopAsyncIteration):  # which would end the reader's loop in silence
            raise RuntimeError(f"generate() raised {type(error).__name__}") from error
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame

    @property
    def is_here(self) -> bool:
        """Whether its thread is the one that asks: waiting for a step would be waiting for itself."""
        return self._thread is threading.current_thread()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end. In the thread itself, and in a forked child, which has none, do nothing."""
        if self._thread is not None and not self.is_here:
            self._thread.join(timeout)

    async def ended(self) -> None:
        """Wait for the thread's end without keeping the event loop."""
        while not self.queue.over:
            await self.changed()
        self.join()

    async def changed(self) -> None:
        """Wait until there is something to read, without keeping the event loop."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self.queue.when_changed(partial(self._wake, loop, waiter))
        await waiter

    def _wake(self, loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]") -> None:
        try:
            loop.call_soon_threadsafe(_resolve, waiter)
        except RuntimeError:  # the loop is closed: nobody reads any more
            self._cancelled.set()

    def abandon(self) -> None:
        """Have it end because whoever read its steps is gone. Called by whatever thread drops the last reference."""
        self.cancel()
        if not _in_event_loop():  # which is kept by nobody: there the thread ends by itself
            self.join(_ABANDONED_SECONDS)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
