"""A picture of a few colours as a PNG, without a library."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DEPTH = 4
MOST_COLOURS = 2**_DEPTH


def png(pixels: NDArray[np.uint8], colours: Sequence[tuple[int, int, int]], clear: int | None = None) -> bytes:
    """Return a picture as a PNG of 4 bits per pixel.

    Args:
        pixels: the index of each pixel's colour, [rows, columns].
        colours: red, green and blue of each, from 0 to 255; `MOST_COLOURS` at most.
        clear: index of the colour that is transparent.
    """
    rows, columns = pixels.shape
    even = np.pad(pixels, ((0, 0), (0, columns % 2))).astype(np.uint8)
    packed = (even[:, ::2] << _DEPTH) | even[:, 1::2]
    lines = np.pad(packed, ((0, 0), (1, 0)))  # each line begins with its filter: none
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, _DEPTH, 3, 0, 0, 0)),
        (b"PLTE", bytes(part for colour in colours for part in colour)),
        *([] if clear is None else [(b"tRNS", bytes(0 if index == clear else 255 for index in range(clear + 1)))]),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
