"""One thread that looks whether something was stored, for all pages that stay open."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from .._internal.error_text import describe
from ..store import RunSource, StoreError
from .live_board import LiveBoard

_log = logging.getLogger(__name__)

MOST_STREAMS: Final = 32
_ASK_SECONDS: Final = 0.25
_OPEN_SECONDS: Final = 20.0
"""The store is opened anew so often: somebody may have put another file in its place."""
_BROKEN_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 5.0
"""So often it is asked what goes on even where nothing was stored: a call that is silent for long goes."""


class TooManyStreamsError(Exception):
    """So many pages stay open already that no other one is let in."""


class Subscription:
    """What an open page waits at: `changed` ends when something was stored, or the server stops.

    Args:
        feed: whose news it gets.
    """

    def __init__(self, feed: "LiveFeed") -> None:
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    @property
    def stopped(self) -> bool:
        """Return whether the server stops."""
        return self._feed.stopped

    async def changed(self, seconds: float) -> bool:
        """Wait until something was stored, so long at most; return whether something was."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def wake(self) -> None:
        """End the wait, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # its loop is closed: nobody waits
            return


class LiveFeed:
    """Looks at a store while pages stay open, and tells them; without such a page it does nothing.

    Args:
        open_source: opens the store, for a thread of its own.
        most: how many pages may stay open.
    """

    def __init__(self, open_source: Callable[[], AbstractContextManager[RunSource]], most: int = MOST_STREAMS) -> None:
        self._open_source = open_source
        self._most = most
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._shown: dict[str, Any] | None = None
        self.stopped = False

    @property
    def open_streams(self) -> int:
        """Return how many pages stay open."""
        return len(self._subscriptions)

    @property
    def full(self) -> bool:
        """Return whether no other page is let in."""
        return self.stopped or self.open_streams >= self._most

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Give a page's subscription; call it in the event loop.

        Raises:
            TooManyStreamsError: if so many stay open already.
        """
        mine = Subscription(self)
        with self._lock:
            if len(self._subscriptions) >= self._most:
                raise TooManyStreamsError
            self._subscriptions.add(mine)
            if self._thread is None and not self.stopped:
                self._shown = None
                self._woken.clear()
                self._thread = threading.Thread(target=self._follow, name="corevital-dashboard-live", daemon=True)
                self._thread.start()
        if self._shown is not None:
            mine.wake()  # what is known already is news to it
        try:
            yield mine
        finally:
            with self._lock:
                self._subscriptions.discard(mine)
            if not self._subscriptions:
                self._woken.set()

    def shown(self) -> dict[str, Any] | None:
        """Return what goes on as it was last seen; None: it was not asked yet, or cannot be."""
        return self._shown

    def stop(self) -> None:
        """End all streams, and do not begin new ones; any thread may call it, more than once."""
        self.stopped = True
        self._woken.set()
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            waiting = list(self._subscriptions)
        for each in waiting:
            each.wake()

    def _wanted(self) -> bool:
        """Whether to go on; the thread that is told no is not this feed's any more."""
        with self._lock:
            if self._subscriptions and not self.stopped:
                return True
            self._thread = None
            return False

    def _follow(self) -> None:
        while self._wanted():
            try:
                with self._open_source() as source:
                    self._watch(source)
            except Exception as error:  # whatever a row holds: all pages wait for this thread
                if not isinstance(error, StoreError):
                    _log.warning("the live pages could not read what was stored: %s", describe(error))
                self._woken.wait(_BROKEN_SECONDS)

    def _watch(self, source: RunSource) -> None:
        """Look for as long as one opening of the store lasts."""
        board, mark, asked = LiveBoard(), None, 0.0
        end = time.monotonic() + _OPEN_SECONDS
        while time.monotonic() < end and self._subscriptions and not self.stopped:
            new = source.change_mark()
            if new is None or new != mark or time.monotonic() - asked > _SWEEP_SECONDS:
                board.update(source, time.time_ns())
                mark, asked = new, time.monotonic()
                self._shown = board.shown()
                self._tell()
            self._woken.wait(_ASK_SECONDS)
