"""From the body of an HTTP request to the bytes of an OTLP request in protobuf."""

import json
import time
import zlib
from typing import Any, Final

from ..store.otlp_json import from_json
from .answers import Fault, RefusedError
from .otlp_signals import OtlpSignal
from .sender_limits import Limits

ENCODINGS: Final = ("gzip", "deflate")
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_FED: Final = 16 * 1024  # what zlib leaves of a piece is copied, so a body is fed in small ones
_PIECE: Final = 64 * 1024
_EITHER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib, as the first bytes have it


def protobuf_of(body: bytes, encoding: str, content_type: str, signal: OtlpSignal, limits: Limits) -> bytes:
    """Return the OTLP request that a body holds, in protobuf.

    Raises:
        RefusedError: if it holds none, or one that is too large.
    """
    is_json = content_type == JSON
    most = limits.json_bytes if is_json else limits.body_bytes
    if encoding:
        body = decompressed(body, most, limits)
    elif len(body) > most:
        raise too_large(most)
    if is_json:
        _check_json(body, limits)
    return _from_json(body, signal) if is_json else body


def decompressed(body: bytes, most: int, limits: Limits) -> bytes:
    """Return a body without its compression; stops as soon as it is beyond a limit, however little comes out of it.

    Raises:
        RefusedError: if it is broken, has more than `most` bytes or too many members, or takes too long.
    """
    end = time.thread_time() + limits.decode_seconds
    pieces, size, members, position = list[bytes](), 0, 1, 0
    inflate = zlib.decompressobj(_EITHER)
    fed, view = b"", memoryview(body)
    try:
        while position < len(body) or fed or not inflate.eof:
            if time.thread_time() > end:
                raise RefusedError(
                    Fault.TOO_LARGE,
                    f"decompressing the body took more than {limits.decode_seconds:g} s; send smaller batches.",
                )
            if inflate.eof:  # another member of gzip follows
                inflate, members = zlib.decompressobj(_EITHER), members + 1
                if members > limits.members:
                    raise RefusedError(Fault.TOO_LARGE, f"the body has more than {limits.members} members of gzip.")
            if not fed:
                fed = bytes(view[position : position + _FED])
                position += len(fed)
            piece = inflate.decompress(fed, _PIECE)
            fed = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            size += len(piece)
            if size > most:
                raise too_large(most)
            if piece:
                pieces.append(piece)
            elif not fed and position == len(body) and not inflate.eof:
                raise zlib.error("it ends too early")
    except zlib.error as error:
        raise RefusedError(Fault.MALFORMED, f"the body cannot be decompressed: {error}.") from None
    return b"".join(pieces)


def _check_json(body: bytes, limits: Limits) -> None:
    """Count what makes objects of Python, before it makes them: each takes microseconds, however short it is."""
    brackets = body.count(b"{") + body.count(b"[")
    if brackets > limits.json_brackets:
        raise RefusedError(
            Fault.TOO_LARGE, f"the body has more than {limits.json_brackets} objects and lists; send smaller batches."
        )
    if brackets + body.count(b",") > limits.json_values:
        raise RefusedError(
            Fault.TOO_LARGE, f"the body has more than {limits.json_values} values; send smaller batches."
        )


def too_large(most: int) -> RefusedError:
    """Return the error of a body of more than `most` bytes."""
    return RefusedError(
        Fault.TOO_LARGE, f"the body has more than {most} bytes, as it is or decompressed; send smaller batches."
    )


def _from_json(body: bytes, signal: OtlpSignal) -> bytes:
    try:
        message: Any = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("a JSON object was expected")
        return bytes(from_json(message, signal.request).SerializeToString())
    except RecursionError:
        raise RefusedError(Fault.MALFORMED, "the body is nested too deeply.") from None
    except (ValueError, OverflowError) as error:
        raise RefusedError(Fault.MALFORMED, f"the body is not OTLP in JSON: {str(error)[:200]}.") from None
