"""What was last put in: at most so many entries and so many bytes, whichever is reached first."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The last entries by key; what was put in longest ago goes first. Not for several threads at once.

    Args:
        most: entries that are kept.
        most_bytes: sum of the sizes that are kept. What is larger by itself is not kept.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.bytes = 0
        """Sum of the sizes of what is kept."""

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0

    def get(self, key: K) -> V | None:
        """Return what was last put in under a key; None where that is nothing, or forgotten."""
        found = self._entries.get(key)
        return None if found is None else found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value, in place of an earlier one under the key.

        Args:
            key: what it is found by.
            value: what is kept.
            size: its bytes.
        """
        before = self._entries.pop(key, None)
        if before is not None:
            self.bytes -= before[1]
        if size > self._most_bytes:
            return
        self._entries[key] = (value, size)
        self.bytes += size
        while len(self._entries) > self._most or self.bytes > self._most_bytes:
            self.bytes -= self._entries.popitem(last=False)[1][1]
