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
from typing import Any

from .frames import FloodError, Frames
from .handshakes import shaking_hands
from .limits import Limits
from .peers import Peers, address_of

_PREFIX = "unix:"


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
        self._open = dict[str, _Outside]()
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
        make: Callable[..., Any] = lambda: _Outside(self, self._peers, self._limits)  # noqa: E731
        if context is not None:
            make = shaking_hands(make, self._peers, self._limits, context)
        self._server = await asyncio.get_running_loop().create_server(make, sock=listener)

    def know(self, peer: str) -> bool:
        """Give a connection a place of its own, since it has shown a valid token; False: there is none left, it ends.

        Args:
            peer: what gRPC calls the connection's other end.
        """
        outside = self._open.get(peer.removeprefix(_PREFIX))
        if outside is None or self._peers.know(outside):
            return True
        outside.end()
        return False

    def stop(self) -> None:
        """Take no further connections."""
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        """End all connections."""
        self.stop()
        for outside in list(self._open.values()):
            outside.end()
        self._folder.cleanup()

    async def pass_on(self, outside: "_Outside") -> None:
        """Connect what has come with the gRPC server."""
        name = str(Path(self._folder.name, str(next(self._numbers))))
        inner = socket.socket(socket.AF_UNIX)
        try:
            inner.setblocking(False)
            inner.bind(name)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(inner, str(self._behind))
            self._open[name] = outside
            outside.on_end(lambda: self._open.pop(name, None))
            await loop.create_unix_connection(lambda: _Inside(outside), sock=inner)
        except OSError:
            inner.close()
            outside.end()
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


class _Outside(_End):
    """A client's connection."""

    def __init__(self, gate: Gate, peers: Peers, limits: Limits) -> None:
        self._gate = gate
        self._peers = peers
        self._limits = limits
        self._frames = Frames(limits)
        self._early = bytearray()
        self._ended = False
        self._on_end: Callable[[], Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        if self._ended:
            transport.abort()
            return
        self.transport = transport
        self._peers.come(self, address_of(transport), self.end)
        if not self._ended:
            transport.pause_reading()
            self._task = asyncio.get_running_loop().create_task(self._gate.pass_on(self))

    def linked(self, inside: "_Inside") -> None:
        """Begin to pass bytes on."""
        self.other = inside
        if self._ended:
            inside.transport.abort()
            return
        if self._early:
            self.data_received(bytes(self._early))
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is None:  # right behind the handshake
            self._early += data
            return
        self._frames.known = not self._peers.is_stranger(self)
        try:
            self._frames.see(data)
        except FloodError:
            self.end()
            return
        self.other.transport.write(data)

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
        for each in (self, self.other):
            if each is not None and each.transport is not None:
                each.transport.abort()
        if self._on_end is not None:
            self._on_end()


class _Inside(_End):
    """The connection to the gRPC server."""

    def __init__(self, outside: _Outside) -> None:
        self.other: _Outside = outside

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.other.linked(self)

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.other.ending()
