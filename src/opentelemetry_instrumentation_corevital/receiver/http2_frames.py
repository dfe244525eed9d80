"""The frames of an HTTP/2 connection, counted before gRPC keeps them.

gRPC keeps what a connection sends before it asks for a token: without a bound one header block in endless CONTINUATION
frames takes tens of MiB. Only the nine bytes in front of each frame are read here, nothing is decoded.
"""

from typing import Final

from .sender_limits import Limits

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD: Final = 9
_DATA, _HEADERS, _CONTINUATION = 0x0, 0x1, 0x9
_END_HEADERS: Final = 0x4


class FloodError(Exception):
    """Raised where a connection sends what no client of gRPC sends."""


class Frames:
    """What has come over one connection.

    Args:
        limits: how much of it may.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._preface = PREFACE
        self._head = bytearray()
        self._left = 0
        self._block_bytes = self._block_frames = 0
        self._count = 0
        self.requests = 0
        """Whole header blocks."""
        self.known = False
        """Whether the connection has shown a valid token; if not, there may be so many frames only."""

    @property
    def begun(self) -> bool:
        """Whether the first frame has come, or its beginning."""
        return self._count > 0

    def see(self, data: bytes) -> None:
        """Look at bytes that have come.

        Raises:
                FloodError: if they are not HTTP/2, headers have no end, or a stranger sends too many frames.
        """
        position = 0
        if self._preface:
            position = min(len(data), len(self._preface))
            if data[:position] != self._preface[:position]:
                raise FloodError("not HTTP/2")
            self._preface = self._preface[position:]
        while position < len(data):
            if self._left:
                passed = min(self._left, len(data) - position)
                self._left -= passed
                position += passed
                continue
            taken = data[position : position + _HEAD - len(self._head)]
            self._head += taken
            position += len(taken)
            if len(self._head) == _HEAD:
                self._frame(int.from_bytes(self._head[:3], "big"), self._head[3], self._head[4])
                self._head.clear()

    def _frame(self, length: int, kind: int, flags: int) -> None:
        self._left = length
        if kind != _DATA or not length:  # which flow control does not hold back
            self._count += 1
            if self._count > self._limits.frames_of_a_stranger and not self.known:
                raise FloodError("frames without a token")
        if kind == _HEADERS:
            self._block_bytes = self._block_frames = 0
        if kind in (_HEADERS, _CONTINUATION):
            self._block_bytes += length
            self._block_frames += 1
            if (
                self._block_bytes > self._limits.header_block_bytes
                or self._block_frames > self._limits.header_block_frames
            ):
                raise FloodError("headers without an end")
            if flags & _END_HEADERS:
                self.requests += 1
                if self.requests > self._limits.requests_of_a_stranger and not self.known:
                    raise FloodError("requests without a token")
                self._block_bytes = self._block_frames = 0
