"""`corevital run --live`: a run is shown while its model generates, by a thread that the model does not wait for."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from rich.text import Text

from ..assessment.step_event import StepEvent
from ..instrumentation.live_consumer import LiveConsumer, live_consumer
from ..presentation.live_text import LiveCallView, Shown
from ..presentation.token_strip import TokenPieces
from .live_screen import Screen, screen

_FRAME_SECONDS: Final = 0.05
"""How often the screen is drawn at most."""
_BEAMS: Final = "beam search: its steps come when it is over, since nobody knows before which beams are returned"


class LiveRun:
    """Shows one `generate()` call: the text of its first sequence, and how all of them stand.

    Args:
        tokenizer: that of the model.
        generation: the keywords of `generate()`.
    """

    def __init__(self, tokenizer: Any, generation: Mapping[str, Any]) -> None:
        self._pieces = TokenPieces(tokenizer)
        self._beams = generation["num_beams"] > 1
        self._view = LiveCallView(limit=generation["max_new_tokens"])
        self._events: queue.SimpleQueue[StepEvent | None] = queue.SimpleQueue()
        self._failure: Exception | None = None

    @property
    def steps(self) -> int:
        """Return how many steps of the first sequence were shown."""
        return self._view.steps

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the calls of the block; everything is on the screen at its end."""
        with screen() as shown:
            if self._beams:
                shown.show([Shown(Text(_BEAMS, "dim"), alone=True)])
            drawing = threading.Thread(target=self._draw, args=(shown,), name="corevital-live", daemon=True)
            drawing.start()
            try:
                with live_consumer(LiveConsumer(listener=self._events.put, token_text=self._text)):
                    yield
            finally:
                self._events.put(None)
                drawing.join()
        if self._failure is not None:
            raise self._failure

    def _text(self, sequence: int, token: int) -> str:
        return self._pieces.add(token) if sequence == self._view.sequence else ""

    def _draw(self, shown: Screen) -> None:
        try:
            over = False
            while not over:
                new: list[Shown] = []
                for event in self._waiting():
                    over = event is None
                    new += self._taken(event)
                shown.show(new, self._view.status)
                if not over:
                    time.sleep(_FRAME_SECONDS)
            shown.end()
        except Exception as error:
            self._failure = error

    def _waiting(self) -> Iterator[StepEvent | None]:
        """Yield the next event, and those that have come with it; None is the last."""
        yield self._events.get()
        while not self._events.empty():
            yield self._events.get()

    def _taken(self, event: StepEvent | None) -> list[Shown]:
        if event is None:
            return self._view.ending(self._pieces.end())
        return self._view.take(event, event.token_text)
