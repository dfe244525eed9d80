"""uvicorn's HTTP connections, with a limit of how many there are and how long one may take to ask for something."""

import asyncio
import ssl
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits


def protocol(limits: Limits, context: ssl.SSLContext | None) -> type[asyncio.Protocol]:
    """Return the class of a server's connections, which speak TLS where there is a context."""
    shaking = set[asyncio.Protocol]()

    class Connection(H11Protocol):
        """One connection. Between two answers it has so many seconds to send the headers of a request."""

        _deadline: asyncio.TimerHandle | None = None
        _made = _lost = False
        _early = b""

        def connection_made(self, transport: Any) -> None:
            if self._lost:
                return
            self._made = True
            super().connection_made(transport)
            if len(self.connections) + len(shaking) > limits.connections:
                transport.abort()
                return
            self._set_deadline(limits.header_seconds)
            if self._early:
                self.data_received(self._early)

        def data_received(self, data: bytes) -> None:
            if not self._made:  # it came right behind the handshake
                self._early += data
                return
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            # What the client still sends of a body that was refused is thrown away until then.
            self._set_deadline(limits.idle_seconds)
            super().on_response_complete()
            self._look()  # the next request may have been there already

        def connection_lost(self, exc: Exception | None) -> None:
            self._lost = True
            self._clear_deadline()
            if self._made:
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

    class Handshake(asyncio.Protocol):
        """A connection before TLS: asyncio's own handshakes are seen by nobody, for up to a minute."""

        def __init__(self, **server: Any) -> None:
            self._connection = Connection(**server)
            self._task: asyncio.Task[None] | None = None

        def connection_made(self, transport: Any) -> None:
            if len(self._connection.connections) + len(shaking) >= limits.connections:
                transport.abort()
                return
            shaking.add(self)
            self._task = asyncio.get_running_loop().create_task(self._shake(transport))

        async def _shake(self, transport: asyncio.Transport) -> None:
            assert context is not None
            loop = asyncio.get_running_loop()
            try:
                secured = await loop.start_tls(
                    transport,
                    self._connection,
                    context,
                    server_side=True,
                    ssl_handshake_timeout=limits.header_seconds,
                )
            except OSError:  # not TLS, another version of it, too slow, or gone
                transport.abort()
                return
            finally:
                shaking.discard(self)
            self._connection.connection_made(secured)

    return Connection if context is None else Handshake
