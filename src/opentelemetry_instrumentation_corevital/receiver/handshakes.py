"""TLS handshakes that are counted and do not last: asyncio's own are seen by nobody, for up to a minute."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from .peers import Peers, address_of
from .sender_limits import Limits


def shaking_hands(
    make: Callable[..., Any], peers: Peers, limits: Limits, context: ssl.SSLContext
) -> type[asyncio.Protocol]:
    """Return the protocol of a connection before TLS; `make` makes the one after it."""

    class Handshake(asyncio.Protocol):
        """A connection before TLS."""

        def __init__(self, **arguments: Any) -> None:
            self._connection = make(**arguments)
            self._task: asyncio.Task[None] | None = None

        def connection_made(self, transport: Any) -> None:
            peers.come(self, address_of(transport), transport.abort)
            self._task = asyncio.get_running_loop().create_task(self._shake(transport))

        async def _shake(self, transport: asyncio.Transport) -> None:
            try:
                secured = await asyncio.get_running_loop().start_tls(
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
                peers.go(self)
            if secured is not None:  # it is where the connection was closed meanwhile
                self._connection.connection_made(secured)

    return Handshake
