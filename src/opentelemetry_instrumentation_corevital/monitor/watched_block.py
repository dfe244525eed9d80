"""A block of a program whose own generate() calls are watched."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self

from opentelemetry.trace import SpanContext

from ..assessment.step_event import StepEvent
from ..instrumentation.live_consumer import LiveConsumer, live_consumer
from ..run import Run
from .patching import RecordedCalls, patched
from .readings import Readings
from .telemetry import CallTelemetry
from .watched_call import WatchedCall


class WatchedBlock(Readings):
    """A block whose own generate() calls are watched, and, where policies are given, acted on.

        with monitor.wrap_generation(model) as run:
            ids = model.generate(**inputs, max_new_tokens=100)
        print(run.get_risk_score())

    Only calls of this thread (and of threads that generate for a streamer made in the block) are seen. Iterating
    yields the steps that have come and have not been read yet, the newest `buffer` of them; it waits for none.

    Args:
        new_call: returns what watches one call.
        telemetry: returns with what the calls are recorded.
        retrieved: makes known in the block what was retrieved for its prompts.
        tokenizer: of the model; None where none is known.
        begun, ended: get each call as its first step comes, and when it is over.
        settings: returns the options that hold.
        buffer: steps that are kept for who iterates.
    """

    def __init__(
        self,
        new_call: Callable[[Callable[[StepEvent], object]], WatchedCall],
        telemetry: Callable[[], CallTelemetry],
        retrieved: AbstractContextManager[Any],
        tokenizer: Any,
        begun: Callable[[WatchedCall], None],
        ended: Callable[[WatchedCall], None],
        settings: Callable[[], Any],
        buffer: int,
    ) -> None:
        self._new_call = new_call
        self._telemetry = telemetry
        self._retrieved = retrieved
        self._tokenizer = tokenizer
        self._begun = begun
        self._ended = ended
        self._options = settings
        self._buffer = buffer
        self._steps: deque[StepEvent] = deque()
        self._going: dict[int, WatchedCall] = {}
        """Thread -> the call that goes on in it."""
        self._newest: WatchedCall | None = None
        self._last: WatchedCall | None = None
        self._block: ExitStack | None = None
        self.dropped = 0
        """Steps that made room for later ones and were never read."""

    def __enter__(self) -> Self:
        if self._block is not None:
            raise RuntimeError("this block has been entered already: call wrap_generation() once more")
        telemetry = self._telemetry()
        with ExitStack() as block:
            block.enter_context(patched())
            consumer = LiveConsumer(
                judged=lambda judged: self._here().judged(judged),
                listener=lambda event: self._here().listen(event),
                may_stop=self._call().may_stop,
                rolled_back=lambda sequence, step: self._here().rolled_back(sequence, step),
                token_text=None if self._tokenizer is None else self._text,
                early_warning=self._call().early_warning,
                finished=self._finish,
                recorder=RecordedCalls(telemetry, self._tokenizer),
            )
            block.enter_context(self._retrieved)
            block.enter_context(live_consumer(consumer))
            self._block = block.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._block is not None:
            self._block.close()

    def __iter__(self) -> Iterator[StepEvent]:
        while self._steps:
            yield self._steps.popleft()

    def _live(self) -> WatchedCall | None:
        return self._newest

    def _finished(self) -> WatchedCall | None:
        return self._last

    def _settings(self) -> Any:
        return self._options()

    def _call(self) -> WatchedCall:
        call = self._new_call(self._keep)
        call.decode_with(self._tokenizer)
        return call

    def _here(self) -> WatchedCall:
        """Return the call that goes on in this thread."""
        thread = threading.get_ident()
        if thread not in self._going:
            self._newest = self._going[thread] = self._call()
            self._begun(self._newest)
        return self._going[thread]

    def _text(self, sequence: int, token: int) -> str:
        return self._here().text(sequence, token)

    def _keep(self, event: StepEvent) -> None:
        if len(self._steps) >= self._buffer:
            self._steps.popleft()
            self.dropped += 1
        self._steps.append(event)

    def _finish(self, runs: Sequence[Run], span_context: SpanContext) -> None:
        call = self._here()
        del self._going[threading.get_ident()]
        call.finished(runs, span_context)
        self._last = call
        self._ended(call)
