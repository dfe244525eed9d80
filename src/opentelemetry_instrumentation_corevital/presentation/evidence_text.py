"""Evidence in words: `period 17, copies 3.4, exact, changes temperature=1.0`."""

from collections.abc import Mapping
from typing import Any


def evidence_text(numbers: Any) -> str:
    """Return evidence as one line; empty where it is no mapping."""
    if not isinstance(numbers, Mapping):
        return ""
    return ", ".join(_one(name.replace("_", " "), value) for name, value in numbers.items())


def _one(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"not {name}"
    if isinstance(value, Mapping):
        return f"{name} {', '.join(f'{keyword}={each!r}' for keyword, each in value.items())}"
    return f"{name} {value}"
