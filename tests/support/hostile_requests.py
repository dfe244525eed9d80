"""Requests that mean harm: small on the wire, large in memory; large on the wire; endless."""

import contextlib
import gzip
import socket
from collections.abc import Iterator

from tests.support.collect_process import JSON, PROTOBUF

MIB = 1024 * 1024
LIMIT = 32 * MIB
_ITEM = 4 * MIB - 64


def field(number: int, content: bytes) -> bytes:
    """Return a field of protobuf that holds bytes."""
    size, length = len(content), bytearray()
    while True:
        length.append(size & 127 | (128 if size > 127 else 0))
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + bytes(length) + content


def _spans(*spans: bytes) -> bytes:
    return field(1, field(2, b"".join(field(2, span) for span in spans)))


def bombs() -> Iterator[tuple[str, bytes, str]]:
    """Yield name, body and content type of bodies that are within the limits of bytes, and want gigabytes of memory."""
    yield "empty groups", b"\x0a\x00" * (LIMIT // 2), PROTOBUF
    yield "empty scopes", field(1, b"\x12\x00" * (LIMIT // 2 - 8)), PROTOBUF
    yield "empty spans", field(1, field(2, b"\x12\x00" * (LIMIT // 2 - 16))), PROTOBUF
    ids = field(1, b"\x01" * 16) + field(2, b"\x01" * 8)
    yield "empty events", _spans(*[ids + field(11, b"") * (_ITEM // 2)] * 7), PROTOBUF
    yield "empty attributes", _spans(*[ids + field(9, b"") * (_ITEM // 2)] * 7), PROTOBUF
    values = field(2, field(5, field(1, b"") * (_ITEM // 2 - 32)))
    yield "one long list", _spans(*[ids + field(9, field(1, b"k") + values)] * 7), PROTOBUF
    deep = b""
    for _ in range(45):
        deep = field(5, field(1, deep))
    yield "deep lists", _spans(*[ids + field(9, field(2, deep))] * 90_000)[:LIMIT], PROTOBUF
    yield "empty resource attributes", field(1, field(1, field(1, b"") * (_ITEM // 2)) + field(2, b"")), PROTOBUF
    yield "many spans", _spans(*[ids] * 99_000), PROTOBUF
    yield "JSON objects", b'{"resourceSpans":[' + b"{}," * (8 * MIB // 3 - 20) + b"{}]}", JSON
    yield "JSON lists", b'{"a":[' + b"[]," * (8 * MIB // 3 - 20) + b"[]]}", JSON
    yield "JSON strings", b'{"a":["' + b'ab","' * (8 * MIB // 5 - 20) + b'"]}', JSON


def zeros(size: int) -> bytes:
    """Return so many zeros, in gzip: about a thousandth of them."""
    piece = gzip.compress(bytes(64 * MIB), 9)
    return piece * (size // (64 * MIB))  # members one after the other are one body


def post_head(length: int | None, **more: str) -> bytes:
    """Return the headers of a request; None: in chunks, without a length."""
    size = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
    headers = {"host": "x", "content-type": PROTOBUF, **size, **more}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/traces HTTP/1.1\r\n{lines}\r\n".encode()


def pour(port: int, size: int, *, chunked: bool) -> bytes:
    """Send a body of `size` bytes whatever the receiver says, and return what it said; empty: it closed the door."""
    piece = bytes(MIB)
    packed = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, contextlib.suppress(OSError):
        connection.sendall(post_head(None if chunked else size))
        for _ in range(size // MIB):
            connection.sendall(packed)
        connection.shutdown(socket.SHUT_WR)
        said = connection.recv(65_536)
    return said
