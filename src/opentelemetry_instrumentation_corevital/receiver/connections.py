"""uvicorn's HTTP connections, with a limit of how many there are and how long one may take to ask for something."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits


def protocol(limits: Limits) -> type[H11Protocol]:
    """Return the class of a server's connections."""

    class Connection(H11Protocol):
        """One connection. Between two answers it has so many seconds to send the headers of a request."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self._set_deadline(limits.header_seconds)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            # What the client still sends of a body that was refused is thrown away until then.
            self._set_deadline(limits.idle_seconds)
            super().on_response_complete()
            self._look()  # the next request may have been there already

        def connection_lost(self, exc: Exception | None) -> None:
            self._clear_deadline()
            super().connection_lost(exc)

        def _look(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._clear_deadline()

        def _set_deadline(self, seconds: float) -> None:
            self._clear_deadline()
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

        def _clear_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Connection
