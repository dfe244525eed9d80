"""The border at which values leave: each fits the type that `semconv.py` declares for its name, or is left out.

A value is converted where nothing of it is lost (a scalar of NumPy or torch, 50.0 for an integer, a text of another
class). What OTLP cannot carry is left out: an integer beyond 64 bits, NaN, infinities, a list with one such element.
"""

import base64
import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

ABSENT: Final = object()
_KINDS: Final = ("attribute", "event attribute", "metric attribute")


def fitting(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes whose value fits the declared type, as plain Python values; names of others stay as are."""
    made = {name: _fit(name, value) for name, value in attributes.items() if value is not None}
    return {name: value for name, value in made.items() if value is not None}


def unfit(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes that have a value and are left out, each with the reason."""
    kept = fitting(attributes)
    return {
        name: f"its value does not fit the type {_declared(name)}"
        for name, value in attributes.items()
        if value is not None and name not in kept
    }


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


def _fit(name: str, value: Any) -> Any:
    declared = _declared(name)
    if declared is None:
        return value
    fit = _FITS[declared.removesuffix("[]")]
    return _list(value, fit) if declared.endswith("[]") else fit(value)


def _list(value: Any, fit: Callable[[Any], Any]) -> list[Any] | None:
    to_list = getattr(value, "tolist", None)
    items: Iterable[Any] = to_list() if callable(to_list) else value
    if not isinstance(items, list | tuple | set | frozenset):
        return None
    made = [fit(item) for item in items]
    return None if None in made else made


def _boolean(value: Any) -> bool | None:
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


def _declared(name: str) -> str | None:
    definitions = _definitions()
    return next((found.type for kind in _KINDS if (found := definitions.get((kind, name)))), None)


@functools.cache
def _definitions() -> Mapping[Any, Any]:
    """Return what is declared, read at the first run: a process that never generates does not need the catalogue."""
    from ..semconv import DEFINITIONS

    return DEFINITIONS


_FITS: Final[dict[str, Callable[[Any], Any]]] = {
    "string": text,
    "int": integer,
    "double": number,
    "boolean": _boolean,
}
