"""Bytes: what an attribute or an event takes in OTLP, and how many of them a process sends in a while.

A gRPC receiver refuses a message of over 4 MiB and a batch of up to 512 spans is one message, lost as a whole. So a
span has a budget, a call has one for all its spans, and a process one for any five seconds.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

SPAN_BYTES_SUMMARY: Final = 48 * 1024
"""Fits what `summary` reports of a run of 80 layers: 96 step events, 256 points of each series."""
SPAN_BYTES_FULL: Final = 80 * 1024
"""The same of a run that is reported in full."""
SPAN_BYTES_BUSY: Final = 6 * 1024
"""A span's budget while spans come too fast: verdict and summaries."""
CALL_BYTES: Final = 2 * 1024 * 1024
PROCESS_BYTES: Final = 3 * 1024 * 1024
PROCESS_SECONDS: Final = 5.0

SPAN_OVERHEAD: Final = 256
"""Ids, times, name, status and framing of a span."""
_EVENT_OVERHEAD: Final = 16


def attribute_bytes(name: str, value: Any) -> int:
    """Return an upper bound of an attribute's size in OTLP protobuf."""
    return 8 + len(name.encode()) + _value_bytes(value)


def attributes_bytes(attributes: Mapping[str, Any]) -> int:
    """Return an upper bound of the size of attributes in OTLP protobuf."""
    return sum(attribute_bytes(name, value) for name, value in attributes.items())


def event_bytes(name: str, attributes: Mapping[str, Any]) -> int:
    """Return an upper bound of an event's size in OTLP protobuf."""
    return _EVENT_OVERHEAD + len(name) + attributes_bytes(attributes)


def _value_bytes(value: Any) -> int:
    """Return the size of an AnyValue: a tag and, where the length varies, up to three bytes of it."""
    if isinstance(value, str):
        return 4 + len(value.encode())
    if isinstance(value, bool):
        return 2
    if isinstance(value, float):
        return 9
    if isinstance(value, int):
        return 1 + (10 if value < 0 else max(1, -(-value.bit_length() // 7)))
    if value and isinstance(value[0], float):  # then all of them are
        return 4 + 11 * len(value)
    return 4 + sum((4 if isinstance(item, str) else 2) + _value_bytes(item) for item in value)


class ByteBucket:
    """A token bucket over the bytes of a process's spans.

    Args:
        capacity: bytes that may go at once.
        seconds: time in which an empty bucket fills up.
    """

    def __init__(self, capacity: int = PROCESS_BYTES, seconds: float = PROCESS_SECONDS) -> None:
        self._capacity = capacity
        self._rate = capacity / seconds
        self._level = float(capacity)
        self._last: float | None = None
        self._lock = threading.Lock()

    def take(self, count: int, now: float) -> bool:
        """Take `count` bytes at `now` (seconds of a monotonic clock); return False, taking none, if there are fewer."""
        with self._lock:
            if self._last is not None:
                self._level = min(self._capacity, self._level + max(0.0, now - self._last) * self._rate)
            self._last = now
            if count > self._level:
                return False
            self._level -= count
            return True

    def give_back(self, count: int) -> None:
        """Give back bytes that were taken and not used; a negative number takes some more."""
        with self._lock:
            self._level = min(self._capacity, self._level + count)
