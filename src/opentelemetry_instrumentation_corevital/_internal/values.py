"""Values of any kind as plain Python ones: whole numbers, finite numbers, text, what JSON and OTLP can have."""

import base64
import math
import os
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

ABSENT: Final = object()


def whole(value: Any) -> int | None:
    """Return an integer of any size; None for what is none, which a truth value is not, either."""
    value = _scalar(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def integer(value: Any) -> int | None:
    """Return an integer that 64 bits hold; None for anything else."""
    number = whole(value)
    return number if number is not None and fits_int64(number) else None


def number(value: Any) -> float | None:
    """Return a finite float; None for anything else."""
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        made = float(value)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None


def text(value: Any) -> str | None:
    """Return a text that UTF-8 can hold; None for what is neither a text nor a name, a path or a number."""
    value = _scalar(value.value if isinstance(value, Enum) else value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return clean(str.__str__(value))
    return str(value) if isinstance(value, bool | int | float) else None


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a text or of several; what is none is left out."""
    several = value if isinstance(value, list | tuple | set | frozenset) else (value,)
    return tuple(clean(str.__str__(each)) for each in several if isinstance(each, str))


def fits_int64(value: int) -> bool:
    """Whether 64 bits hold an integer."""
    return -(2**63) <= value < 2**63


def clean(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate, which a cut-off emoji leaves, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def plain(value: Any) -> Any:
    """Return any value as JSON and OTLP have it, `ABSENT` where one of them has none.

    Bytes become base64 text. A mapping loses the keys whose value is absent; a list that has such a value is absent as
    a whole, since the positions of the others would shift.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int | float):
        return value if (fits_int64(value) if isinstance(value, int) else math.isfinite(value)) else ABSENT
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {clean(str(key)): made for key, item in value.items() if (made := plain(item)) is not ABSENT}
    if isinstance(value, Sequence):
        values = [plain(item) for item in value]
        return ABSENT if any(item is ABSENT for item in values) else values
    scalar = _scalar(value)
    return ABSENT if scalar is value or scalar is None else plain(scalar)


def boolean(value: Any) -> bool | None:
    value = _scalar(value)
    return value if isinstance(value, bool) else None


def _scalar(value: Any) -> Any:
    """Return the Python value of a scalar of NumPy or torch; anything else as it is, None for several numbers."""
    item = getattr(value, "item", None)
    if not callable(item) or isinstance(value, type):
        return value
    try:
        return item()
    except (TypeError, ValueError, RuntimeError):
        return None
