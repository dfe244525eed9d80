"""The border at which values leave: each fits the type that is declared for its name, or is left out.

A value is converted where nothing of it is lost (a scalar of NumPy or torch, 50.0 for an integer, a text of another
class). What OTLP cannot carry is left out: an integer beyond 64 bits, NaN, infinities, a list with one such element.

`semconv` declares the names; whoever calls this spells them with it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .._internal.values import boolean, integer, number, text
from .definitions import DEFINITIONS

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


def _declared(name: str) -> str | None:
    return next((found.type for kind in _KINDS if (found := DEFINITIONS.get((kind, name)))), None)


_FITS: Final[dict[str, Callable[[Any], Any]]] = {
    "string": text,
    "int": integer,
    "double": number,
    "boolean": boolean,
}
