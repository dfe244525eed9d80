"""The gate in front of gRPC: it takes the connections, counts them and their frames, and passes their bytes on.

gRPC's own server has no limit per peer, keeps no places for those who know the token, and buffers header blocks without
an end. Behind the gate it listens on a socket in a folder that nobody else can enter. It knows the other end by the
name of that end's socket there: with it a handler says whose token was right.
"""

import asyncio
import contextlib
import itertools
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .handshakes import shaking_hands
from .http2_frames import FloodError, Frames
from .peers import Peers, address_of
from .sender_limits import Limits

_PREFIX: Final = "unix:"
_FLOODED_SECONDS: Final = 0.25
"""For which a connection waits where its address has sent a flood."""
_MOST_FLOODED: Final = 4096


class Gate:
    """Passes connections on to a gRPC server.

    Args:
        limits: how many there may be, and what may come over them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peers = Peers(limits)
        self._folder = tempfile.TemporaryDirectory(prefix="corevital-")
        self._numbers = itertools.count()
        self._open = dict[str, _ClientSide]()
        self._flooded = dict[str, float]()
        self._server: asyncio.Server | None = None

    @property
    def behind(self) -> str:
        """Return the address that the gRPC server listens on."""
        return f"{_PREFIX}{self._behind}"

    @property
    def _behind(self) -> Path:
        return Path(self._folder.name, "grpc")

    async def open(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Take the connections of a listening socket, which speak TLS where there is a context."""
        make: Callable[..., Any] = lambda: _ClientSide(self, self._peers, self._limits)  # noqa: E731
        if context is not None:
            make = shaking_hands(make, self._peers, self._limits, context)
        self._server = await asyncio.get_running_loop().create_server(make, sock=listener)

    def know(self, peer: str) -> bool:
        """Give a connection a place of its own, since it has shown a valid token; False: there is none left, it ends.

        Args:
            peer: what gRPC calls the connection's other end.
        """
        client = self._open.get(peer.removeprefix(_PREFIX))
        if client is None or self._peers.know(client):
            return True
        client.end()
        return False

    def deny(self, peer: str) -> None:
        """Have a connection make room before others, since it has shown no valid token."""
        client = self._open.get(peer.removeprefix(_PREFIX))
        if client is not None:
            self._peers.deny(client)

    def stop(self) -> None:
        """Take no further connections."""
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        """End all connections."""
        self.stop()
        for client in list(self._open.values()):
            client.end()
        self._folder.cleanup()

    def flooded_from(self, address: str) -> None:
        """Remember that an address sent a flood."""
        if len(self._flooded) >= _MOST_FLOODED:
            self._flooded.clear()
        self._flooded[address] = asyncio.get_running_loop().time() + self._limits.flood_seconds

    async def pass_on(self, client: "_ClientSide") -> None:
        """Connect what has come with the gRPC server."""
        if self._flooded.get(client.address, 0.0) > asyncio.get_running_loop().time():
            await asyncio.sleep(_FLOODED_SECONDS)  # a flood that is closed comes again at once
        name = str(Path(self._folder.name, str(next(self._numbers))))
        inner = socket.socket(socket.AF_UNIX)
        try:
            inner.setblocking(False)
            inner.bind(name)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(inner, str(self._behind))
            self._open[name] = client
            client.on_end(lambda: self._open.pop(name, None))
            await loop.create_unix_connection(lambda: _ServerSide(client), sock=inner)
        except OSError:
            inner.close()
            client.end()
        finally:
            with contextlib.suppress(OSError):
                Path(name).unlink()


class _End(asyncio.Protocol):
    """One of two connections: what comes over it goes out over the other, as fast as that takes it."""

    transport: Any = None
    other: "_End | None" = None

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


class _ClientSide(_End):
    """A client's connection."""

    def __init__(self, gate: Gate, peers: Peers, limits: Limits) -> None:
        self._gate = gate
        self._peers = peers
        self._limits = limits
        self._frames = Frames(limits)
        self._early = bytearray()
        self.address = ""
        self._ended = self._asked = False
        self._deadline: asyncio.TimerHandle | None = None
        self._on_end: Callable[[], Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        if self._ended:
            transport.abort()
            return
        self.transport = transport
        self._deadline = asyncio.get_running_loop().call_later(self._limits.header_seconds, self.end)
        self.address = address_of(transport)
        self._peers.come(self, self.address, self.end)
        if not self._ended:
            self._pass_on()  # the first frame may have come right behind the handshake

    def linked(self, server: "_ServerSide") -> None:
        """Begin to pass bytes on."""
        self.other = server
        if self._ended or self._deadline is None:
            server.transport.abort()
            return
        self._deadline.cancel()
        server.transport.write(bytes(self._early))
        self._early.clear()
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._frames.known = self._peers.is_known(self)
        try:
            self._frames.see(data)
        except FloodError:
            self._gate.flooded_from(self.address)
            self.end()
            return
        if self._frames.requests and not self._asked:
            self._asked = True
            self._peers.ask(self)
        if self.other is not None:
            self.other.transport.write(data)
            return
        self._early += data
        self._pass_on()

    def _pass_on(self) -> None:
        """Connect with gRPC once the first frame begins: who says nothing costs it nothing."""
        if self.transport is not None and self._frames.begun and self._task is None:
            self.transport.pause_reading()
            self._task = asyncio.get_running_loop().create_task(self._gate.pass_on(self))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        self.end()

    def on_end(self, told: Callable[[], Any]) -> None:
        """Have something called at the end, at once where that has come already."""
        self._on_end = told
        if self._ended:
            told()

    def ending(self) -> None:
        """Send what gRPC said last, such as why it goes away, and close."""
        self.transport.close()
        asyncio.get_running_loop().call_later(self._limits.header_seconds, self.end)

    def end(self) -> None:
        """Close both connections at once."""
        if self._ended:
            return
        self._ended = True
        self._peers.go(self)
        if self._deadline is not None:
            self._deadline.cancel()
        for each in (self, self.other):
            if each is not None and each.transport is not None:
                each.transport.abort()
        if self._on_end is not None:
            self._on_end()


class _ServerSide(_End):
    """The connection to the gRPC server."""

    def __init__(self, client: _ClientSide) -> None:
        self.other: _ClientSide = client

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.other.linked(self)

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.other.ending()
