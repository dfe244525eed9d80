"""Steps on their way from the thread that generates to whoever reads them: bounded, for threads and for coroutines."""

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal

from ..assessment.step_event import StepEvent

Overflow = Literal["block", "drop_oldest"]

_WAKE_SECONDS: Final = 0.5
"""How often who waits for room asks whether the program ends."""


class End(Enum):
    """What is read where there is no step."""

    NOTHING_YET = 0
    OVER = 1


class StepQueue:
    """A bounded queue with one writer.

    Args:
        buffer: steps that it holds at most.
        overflow: whether the writer waits where it is full, or the oldest step makes room.
    """

    def __init__(self, buffer: int, overflow: Overflow) -> None:
        self._buffer = buffer
        self._overflow = overflow
        self._steps: deque[StepEvent] = deque()
        # Reentrant: a stream that is collected as garbage closes its queue on any thread, at any point.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: list[Callable[[], None]] = []
        self._closed = False
        self._over = False
        self.dropped = 0
        """Steps that made room and were never read."""

    def put(self, step: StepEvent) -> None:
        """Add a step; where the queue is closed, drop it. Called by the thread that generates."""
        with self._changed:
            while len(self._steps) >= self._buffer and not self._closed:
                if self._overflow == "drop_oldest":
                    self._steps.popleft()
                    self.dropped += 1
                elif not threading.main_thread().is_alive():
                    self.close()  # the program ends, and waits for this thread
                else:
                    self._changed.wait(_WAKE_SECONDS)
            if not self._closed:
                self._steps.append(step)
                self._wake()

    def finish(self) -> None:
        """Say that no step comes any more."""
        with self._changed:
            self._over = True
            self._wake()

    def close(self) -> None:
        """Drop all steps and those to come: nobody reads them any more, so the writer need not wait."""
        with self._changed:
            self._closed = True
            self._steps.clear()
            self._wake()

    @property
    def over(self) -> bool:
        """Whether the writer has finished."""
        return self._over

    def take(self) -> StepEvent | End:
        """Return the next step without waiting for it."""
        with self._changed:
            if self._steps:
                step = self._steps.popleft()
                self._changed.notify_all()
                return step
            return End.OVER if self._over or self._closed else End.NOTHING_YET

    def wait(self) -> StepEvent | End:
        """Return the next step; wait for it."""
        with self._changed:
            while (step := self.take()) is End.NOTHING_YET:
                self._changed.wait()
            return step

    def when_changed(self, call: Callable[[], None]) -> None:
        """Call something once, on whatever thread, as soon as there is a step or none comes any more.

        It must not wait for anything.
        """
        with self._changed:
            if self._steps or self._over:
                call()
            else:
                self._waiting.append(call)

    def _wake(self) -> None:
        self._changed.notify_all()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()
