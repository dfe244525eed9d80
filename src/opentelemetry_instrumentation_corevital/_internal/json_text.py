"""JSON from anywhere, read within bounds."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

MOST_JSON: Final = 32 * 1024**2
"""Characters of a span's attributes as JSON."""
MOST_DEPTH: Final = 64
"""Of lists and objects within each other."""
_MOST_PARTS: Final = 1_000_000
"""Lists, objects and items of JSON: each takes a hundred times its characters in memory."""


def too_deep(value: Any) -> str | None:
    """Return what is wrong with a value whose form nothing declares; None: nothing."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [item for each in level for item in _items(each)]
        if not level:
            return None
    return f"has more than {MOST_DEPTH} lists and objects within each other"


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [item for item in value.values() if isinstance(item, list | Mapping)]
    return [item for item in value if isinstance(item, list | Mapping)] if isinstance(value, list) else ()


def json_object(text: Any) -> dict[str, Any] | None:
    """Return the object that JSON from anywhere holds; None where it holds none, or cannot be read."""
    if not isinstance(text, str) or len(text) > MOST_JSON or sum(map(text.count, "[{,")) > _MOST_PARTS:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None
