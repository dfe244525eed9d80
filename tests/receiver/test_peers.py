"""Who keeps a place among the connections, and who makes room."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from opentelemetry_instrumentation_corevital.receiver.http2_frames import PREFACE, FloodError, Frames
from opentelemetry_instrumentation_corevital.receiver.peers import Peers, address_of
from opentelemetry_instrumentation_corevital.receiver.sender_limits import Limits
from tests.support.flood import HTTP2_FLOODS, frame, request_headers

LIMITS = Limits(connections=2, strangers=6, strangers_of_a_peer=3, stranger_seconds=0.01)


def played(play: Callable[[Peers, list[str]], Awaitable[None]]) -> None:
    async def run() -> None:
        await play(Peers(LIMITS), [])

    asyncio.run(run())


def come(peers: Peers, closed: list[str], address: str, *names: str) -> None:
    for name in names:
        peers.come(name, address, lambda name=name: closed.append(name))  # type: ignore[misc]


def test_the_oldest_stranger_of_an_address_makes_room_and_no_other_address_does() -> None:
    async def play(peers: Peers, closed: list[str]) -> None:
        come(peers, closed, "other", "o1")
        come(peers, closed, "flood", *"abcdef")
        assert closed == [], "everybody may ask first"
        await asyncio.sleep(0.1)
        assert closed == ["a", "b", "c"]
        assert peers.is_stranger("o1")

    played(play)


def test_who_has_shown_a_token_stays() -> None:
    async def play(peers: Peers, closed: list[str]) -> None:
        come(peers, closed, "flood", "honest", *"abcdef")
        assert peers.know("honest")
        await asyncio.sleep(0.1)
        assert closed == ["a", "b", "c"]
        assert not peers.is_stranger("honest")
        assert peers.know("d")
        assert not peers.know("e"), "there are two places"
        peers.go("d")
        assert peers.know("e")

    played(play)


def test_who_was_denied_goes_before_who_is_silent_and_that_before_who_asks() -> None:
    async def play(peers: Peers, closed: list[str]) -> None:
        come(peers, closed, "flood", *"abcde")
        peers.ask("a")
        peers.deny("d")
        await asyncio.sleep(0.1)
        assert closed == ["d", "b"]
        peers.deny("a")
        come(peers, closed, "flood", "f")
        await asyncio.sleep(0.1)
        assert closed == ["d", "b", "a"]

    played(play)


def test_many_addresses_push_out_those_that_were_there_longest() -> None:
    async def play(peers: Peers, closed: list[str]) -> None:
        for number in range(8):
            come(peers, closed, f"address {number}", str(number))
        await asyncio.sleep(0.1)
        assert len(peers) == 6
        for number in range(8, 30):  # all at once
            come(peers, closed, f"address {number}", str(number))
        assert len(peers) == 12
        await asyncio.sleep(0.1)
        assert len(peers) == 6

    played(play)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::/64"),
        (("2001:db8::ffff:2", 1, 0, 0), "2001:db8::/64"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses(peer: object, address: str) -> None:
    class Transport:
        def get_extra_info(self, name: str) -> object:
            return peer

    assert address_of(Transport()) == address


# --- the frames of HTTP/2 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flood", HTTP2_FLOODS)
@pytest.mark.parametrize("piece", [7, 65_536])
def test_a_flood_ends_before_it_is_large(flood: str, piece: int) -> None:
    frames, seen = Frames(Limits()), 0
    frames.see(PREFACE)
    with contextlib.suppress(FloodError):
        for data in HTTP2_FLOODS[flood]():
            for position in range(0, len(data), piece):
                seen += min(piece, len(data) - position)
                frames.see(data[position : position + piece])
            assert seen < 1024 * 1024, "it goes on"
    assert seen < 128 * 1024


def test_what_is_not_http2_ends_at_once() -> None:
    with pytest.raises(FloodError):
        Frames(Limits()).see(b"GET / HTTP/1.1\r\n")


def test_requests_and_their_bodies_pass() -> None:
    frames = Frames(Limits())
    frames.known = True
    frames.see(PREFACE + frame(4, 0, 0))
    for number in range(1000):
        head = request_headers()
        frames.see(frame(1, 0, 2 * number + 1, head[:20]) + frame(9, 4, 2 * number + 1, head[20:]))
        frames.see(frame(0, 1, 2 * number + 1, bytes(16_384)))
