"""A flood of a receiver by somebody without its token, as a process of its own: `python -m tests.support.flood`."""

import contextlib
import gzip
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tests.support.hostile_requests import MIB, bombs, post_head

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HALF_OPEN = 300
_HEADERS, _RST, _SETTINGS, _PING, _WINDOW, _CONTINUATION = 1, 3, 4, 6, 8, 9


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header as HPACK has it, without an index."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request_headers() -> bytes:
    """Return the header block of a request of gRPC without a token."""
    known = literal(b":path", PATH) + literal(b":authority", b"x")
    return b"\x83\x86" + known + literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers")


def continuations() -> Iterator[bytes]:
    """Yield a header block without an end."""
    yield frame(_HEADERS, 0, 1, request_headers())
    while True:
        yield b"".join(frame(_CONTINUATION, 0, 1, literal(b"a", b"b" * 100)) for _ in range(500))


def large_continuations() -> Iterator[bytes]:
    """Yield the same in frames that are as large as they may be."""
    yield frame(_HEADERS, 0, 1, request_headers())
    while True:
        yield frame(_CONTINUATION, 0, 1, literal(b"a", b"b" * 100) * 150)


def rapid_resets() -> Iterator[bytes]:
    """Yield requests that are called off at once."""
    stream = 1
    while True:
        calls = []
        for _ in range(100):
            calls.append(frame(_HEADERS, 4, stream, request_headers()) + frame(_RST, 0, stream, struct.pack(">I", 8)))
            stream += 2
        yield b"".join(calls)


def repeated(kind: int, content: bytes) -> Callable[[], Iterator[bytes]]:
    """Return what yields the same frame again and again."""

    def frames() -> Iterator[bytes]:
        while True:
            yield frame(kind, 0, 0, content) * 200

    return frames


HTTP2_FLOODS = {
    "CONTINUATION": continuations,
    "large CONTINUATION": large_continuations,
    "rapid reset": rapid_resets,
    "SETTINGS": repeated(_SETTINGS, b"\0\3\0\0\0d"),
    "PING": repeated(_PING, b"12345678"),
    "WINDOW_UPDATE": repeated(_WINDOW, b"\0\0\0\1"),
}


def bodies() -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """Yield name, body of up to 32 MiB and headers of every hostile body, unpacked."""
    for name, body, kind in bombs():
        yield name, body, {"content-type": kind}
    empty = gzip.compress(b"")
    yield "empty members of gzip", empty * (32 * MIB // len(empty)), {"content-encoding": "gzip"}
    yield (
        "empty blocks of deflate",
        b"\x78\x9c" + b"\x00\x00\x00\xff\xff" * (32 * MIB // 5 - 2),
        {"content-encoding": "deflate"},
    )
    yield "not compressible", gzip.compress(os.urandom(31 * MIB), 0), {"content-encoding": "gzip"}


class Flood:
    """Attacks for so many seconds."""

    def __init__(self, http: int, grpc: int, seconds: float) -> None:
        self._http, self._grpc, self._end = http, grpc, time.monotonic() + seconds

    def run(self) -> None:
        threads = [threading.Thread(target=self._half_open, args=(self._http, b"POST /v1/traces HTTP/1.1\r\nx: "))]
        threads.append(threading.Thread(target=self._half_open, args=(self._grpc, PREFACE)))
        threads += [threading.Thread(target=self._http2, args=(make,)) for make in HTTP2_FLOODS.values() for _ in "12"]
        for _, body, headers in bodies():
            threads.append(threading.Thread(target=self._post, args=(body, headers)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _running(self) -> bool:
        return time.monotonic() < self._end

    def _half_open(self, port: int, beginning: bytes) -> None:
        """Keep so many connections open that never come to the end of their headers."""
        open_ = list[socket.socket]()
        while self._running():
            still = []
            for each in open_:
                with contextlib.suppress(OSError):
                    try:
                        if each.recv(4096):
                            still.append(each)
                        continue
                    except BlockingIOError:
                        still.append(each)
            open_ = still
            while len(open_) < HALF_OPEN and self._running():
                with contextlib.suppress(OSError):
                    each = socket.create_connection(("127.0.0.1", port), timeout=5)
                    each.sendall(beginning)
                    each.setblocking(False)
                    open_.append(each)
            time.sleep(0.02)
        for each in open_:
            each.close()

    def _http2(self, make: Callable[[], Iterator[bytes]]) -> None:
        while self._running():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._grpc), timeout=5) as connection,
            ):
                connection.sendall(PREFACE + frame(_SETTINGS, 0, 0))
                connection.settimeout(1)
                for data in make():
                    connection.sendall(data)
                    if not self._running():
                        break
            time.sleep(0.02)

    def _post(self, body: bytes, headers: dict[str, str]) -> None:
        named = {name.replace("-", "_"): value for name, value in headers.items()}
        while self._running():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._http), timeout=5) as connection,
            ):
                connection.sendall(post_head(len(body), **named) + body[:MIB])
                for position in range(MIB, len(body), MIB):
                    connection.sendall(body[position : position + MIB])
                connection.recv(4096)
            time.sleep(0.1)


def main() -> None:
    """Flood the ports of the arguments."""
    os.nice(10)  # whoever floods has machines of his own
    http, grpc, seconds = sys.argv[1:]
    Flood(int(http), int(grpc), float(seconds)).run()


if __name__ == "__main__":
    main()
