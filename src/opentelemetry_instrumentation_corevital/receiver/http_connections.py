"""uvicorn's HTTP connections, with a limit of how many there are and how long one may take to ask for something."""

import asyncio
import ssl
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .bearer_token import TokenCheck
from .handshakes import shaking_hands
from .peers import Peers, address_of
from .sender_limits import Limits

_PIECE: Final = 4096
_REFUSED_SECONDS: Final = 0.05
"""Between two readings of a body that is thrown away."""


class _LimitedConnection(H11Protocol):
    """One connection. Between two answers it has so many seconds to send the headers of a request."""

    _limits: Limits
    _peers: Peers
    _guard: TokenCheck
    _deadline: asyncio.TimerHandle | None = None
    _made = _lost = _turn_comes = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._come = bytearray()
        """What has come and has not been parsed."""

    def connection_made(self, transport: Any) -> None:
        if self._lost:
            return
        self._made = True
        super().connection_made(transport)
        self._peers.come(self, address_of(transport), transport.abort)
        self._set_deadline(self._limits.header_seconds)
        if self._come:
            self._parse()

    def data_received(self, data: bytes) -> None:
        self._come += data
        if self._made and not self._turn_comes:  # else it came right behind the handshake, or others' turn is first
            self._parse()

    def _parse(self) -> None:
        """Parse what has come; headers and chunks, which cost more than their size, a piece at a time."""
        self._turn_comes = False
        if self._lost or self.transport.is_closing():
            self._come.clear()
            return
        refused = self._is_refused()
        if refused and self._is_chunked():
            self._come.clear()
        size = _PIECE if self.cycle is None or self.cycle.response_complete or self._is_chunked() else len(self._come)
        piece = bytes(self._come[:size])
        del self._come[:size]
        if piece:
            super().data_received(piece)
            self._recognise()
        if self._come or refused:
            self._turn_comes = True
            self.transport.pause_reading()
            self.loop.call_later(_REFUSED_SECONDS if refused else 0, self._parse)
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _is_refused(self) -> bool:
        """Tell whether a stranger still sends a body after the answer: others' requests come first."""
        cycle = self.cycle
        answered = cycle is not None and cycle.response_complete and self.conn.their_state is h11.SEND_BODY
        return bool(answered) and self._peers.is_stranger(self)

    def _is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers or ())

    def on_response_complete(self) -> None:
        # What the client still sends of a body that was refused is thrown away until then.
        self._set_deadline(self._limits.idle_seconds)
        super().on_response_complete()
        self._recognise()  # the next request may have been there already

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._clear_deadline()
        self._peers.go(self)
        if self._made:
            super().connection_lost(exc)

    def _recognise(self) -> None:
        if self.cycle is None:
            return
        admitted = self._peers.is_stranger(self) and self._guard.admits(dict(self.headers).get(b"authorization"))
        if not admitted:
            self._peers.deny(self)
        if admitted and not self._peers.know(self):
            self.transport.abort()
        elif not self.cycle.response_complete:
            self._clear_deadline()

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def protocol(limits: Limits, context: ssl.SSLContext | None, guard: TokenCheck) -> type[asyncio.Protocol]:
    """Return the class of a server's connections, which speak TLS where there is a context."""
    peers = Peers(limits)

    class Connection(_LimitedConnection):
        """A connection of this server."""

        _limits, _peers, _guard = limits, peers, guard

    return Connection if context is None else shaking_hands(Connection, peers, limits, context)
