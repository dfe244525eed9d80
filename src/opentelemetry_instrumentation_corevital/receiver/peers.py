"""Who may keep a connection open: those that have shown a valid token have places that nobody else can take."""

import asyncio
import ipaddress
import itertools
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from .sender_limits import Limits

_TURNS: Final = 2
"""Of the event loop, after which what a connection has sent is read for certain."""
_MOST: Final = 2
"""At most so many times the limit of strangers are open, whatever the grace."""


@dataclass(frozen=True, slots=True)
class _Stranger:
    number: int
    address: str
    close: Callable[[], None]


class Peers:
    """The open connections of one protocol. Used by one event loop.

    A connection is a stranger's until it has shown a valid token; where none is needed, until it asks for something.
    One stranger too many is let in all the same, and a moment later the one that was there longest goes: who floods
    a receiver pushes out himself, and a sender that asks at once is known before it is its turn.

    Args:
        limits: how many there may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._strangers: dict[Hashable, _Stranger] = {}  # the oldest first
        self._of = Counter[str]()
        self._known = set[Hashable]()
        self._asked = set[Hashable]()
        self._denied = set[Hashable]()
        self._numbers = itertools.count()
        self._clearing = False

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def come(self, connection: Hashable, address: str, close: Callable[[], None]) -> None:
        """Let a stranger in, and soon close another one where there is no room for both.

        Args:
            connection: who came.
            address: from where.
            close: closes it at once.
        """
        newest = _Stranger(next(self._numbers), address, close)
        self._strangers[connection] = newest
        self._of[address] += 1
        if len(self._strangers) > _MOST * self._limits.strangers:
            self._push_out(self._of.most_common(1)[0][0], newest.number)
        elif self._crowding(address) and not self._clearing:
            self._clear_soon(newest.number)

    def know(self, connection: Hashable) -> bool:
        """Give a stranger that has shown a valid token a place of its own; return False where there is none left."""
        if connection in self._known:
            return True
        if connection not in self._strangers or len(self._known) >= self._limits.connections:
            return False
        self._forget(connection)
        self._known.add(connection)
        return True

    def ask(self, connection: Hashable) -> None:
        """Have others make room before a stranger that has asked, and whose token is not looked at yet."""
        if connection in self._strangers:
            self._asked.add(connection)

    def deny(self, connection: Hashable) -> None:
        """Have a stranger make room before others, since it has shown no valid token."""
        if connection in self._strangers:
            self._asked.discard(connection)
            self._denied.add(connection)

    def go(self, connection: Hashable) -> None:
        """Forget a connection that is closed."""
        self._known.discard(connection)
        if connection in self._strangers:
            self._forget(connection)

    def is_known(self, connection: Hashable) -> bool:
        """Return whether a connection has shown a valid token and has a place of its own."""
        return connection in self._known

    def is_stranger(self, connection: Hashable) -> bool:
        """Return whether a connection has not shown a valid token."""
        return connection in self._strangers

    def _crowding(self, address: str) -> bool:
        return self._of[address] > self._limits.strangers_of_a_peer or len(self._strangers) > self._limits.strangers

    def _clear_soon(self, newest: int) -> None:
        """Make room, at the cost of connections up to a number: what those have sent is read by then."""
        self._clearing = True
        loop = asyncio.get_running_loop()

        def turn(left: int) -> None:
            if left:
                loop.call_soon(turn, left - 1)
                return
            self._clearing = False
            self._clear(newest)

        loop.call_later(self._limits.stranger_seconds, turn, _TURNS)

    def _clear(self, newest: int) -> None:
        for address in [each for each, _ in self._of.most_common()]:
            while self._crowding(address) and self._push_out(address, newest):
                pass
        if any(map(self._crowding, self._of)) and not self._clearing:
            self._clear_soon(max(each.number for each in self._strangers.values()))

    def _push_out(self, address: str, newest: int) -> bool:
        """Close a connection of an address that is not newer than a number; return False if there is none.

        One that was denied goes before one that is silent, that before one that has asked, and of those the oldest.
        """
        old = [
            connection
            for connection, stranger in self._strangers.items()
            if stranger.address == address and stranger.number <= newest
        ]
        if not old:
            return False
        out = min(old, key=lambda each: (each in self._asked) - (each in self._denied))  # the first of the least
        stranger = self._strangers[out]
        self._forget(out)
        stranger.close()
        return True

    def _forget(self, connection: Hashable) -> None:
        address = self._strangers.pop(connection).address
        self._asked.discard(connection)
        self._denied.discard(connection)
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]


def address_of(transport: object) -> str:
    """Return the address of a transport's other end: of IPv6 its first 64 bits, which one sender has at will."""
    peer = getattr(transport, "get_extra_info", lambda _: None)("peername")
    host = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    return _network(host) if ":" in host else host


def _network(host: str) -> str:

    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
