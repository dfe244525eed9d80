"""The body of an HTTP request -> the bytes of an OTLP request in protobuf."""

import json
import zlib
from typing import Any, Final

from ..store.otlp_json import from_json
from .answers import Fault, RefusedError
from .limits import Limits
from .signals import Signal

ENCODINGS: Final = ("gzip", "deflate")
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_PIECE: Final = 64 * 1024
_EITHER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib, as the first bytes have it


def protobuf_of(body: bytes, encoding: str, content_type: str, signal: Signal, limits: Limits) -> bytes:
    """Return the OTLP request that a body holds, in protobuf.

    Raises:
        RefusedError: if it holds none, or one that is too large.
    """
    is_json = content_type == JSON
    most = limits.json_bytes if is_json else limits.body_bytes
    if encoding:
        body = decompressed(body, most)
    elif len(body) > most:
        raise too_large(most)
    if is_json and body.count(b"{") + body.count(b"[") > limits.json_brackets:
        raise RefusedError(
            Fault.TOO_LARGE, f"the body has more than {limits.json_brackets} objects and lists; send smaller batches."
        )
    return _from_json(body, signal) if is_json else body


def decompressed(body: bytes, most: int) -> bytes:
    """Return a body without its compression; stops as soon as there is more of it than `most` bytes.

    Raises:
        RefusedError: if it is broken, or too large.
    """
    pieces, size = list[bytes](), 0
    inflate = zlib.decompressobj(_EITHER)
    rest = body
    try:
        while rest or not inflate.eof:
            if inflate.eof:  # another member of gzip follows
                inflate = zlib.decompressobj(_EITHER)
            piece = inflate.decompress(rest, _PIECE)
            rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            size += len(piece)
            if size > most:
                raise too_large(most)
            pieces.append(piece)
            if not piece and not rest and not inflate.eof:
                raise zlib.error("it ends too early")
    except zlib.error as error:
        raise RefusedError(Fault.MALFORMED, f"the body cannot be decompressed: {error}.") from None
    return b"".join(pieces)


def too_large(most: int) -> RefusedError:
    """Return the error of a body of more than `most` bytes."""
    return RefusedError(
        Fault.TOO_LARGE, f"the body has more than {most} bytes, as it is or decompressed; send smaller batches."
    )


def _from_json(body: bytes, signal: Signal) -> bytes:
    try:
        message: Any = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("a JSON object was expected")
        return bytes(from_json(message, signal.request).SerializeToString())
    except RecursionError:
        raise RefusedError(Fault.MALFORMED, "the body is nested too deeply.") from None
    except ValueError as error:
        raise RefusedError(Fault.MALFORMED, f"the body is not OTLP in JSON: {str(error)[:200]}.") from None
