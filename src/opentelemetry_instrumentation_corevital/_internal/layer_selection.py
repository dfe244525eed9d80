"""Which layers are looked at: the grammar of the setting `layers`."""

import re
from typing import Final

_PART: Final = re.compile(r"(-?\d+)(?:\.\.(-?\d+))?")


class LayerSelection:
    """Layers named by `all`, or by a list of indices and ranges such as `0,4..7,-1`.

    A negative index counts from the last layer, a range includes both its ends.

    Raises:
        ValueError: for any other text.
    """

    def __init__(self, text: str = "all") -> None:
        self._parts: list[tuple[int, int]] | None = None
        if text.strip().lower() == "all":
            return
        self._parts = []
        for part in text.split(","):
            found = _PART.fullmatch(part.strip())
            if found is None:
                raise ValueError(
                    f"must be `all` or a list such as `0,4..7,-1`; {part.strip()!r} is no layer and no range"
                )
            first = int(found[1])
            self._parts.append((first, first if found[2] is None else int(found[2])))

    def __call__(self, count: int) -> list[int]:
        """Return the selected ones of `count` layers, in order; what the model does not have is left out."""
        if self._parts is None:
            return list(range(count))
        chosen: set[int] = set()
        for first, last in self._parts:
            ends = [index + count if index < 0 else index for index in (first, last)]
            chosen.update(index for index in range(ends[0], ends[1] + 1) if 0 <= index < count)
        return sorted(chosen)
