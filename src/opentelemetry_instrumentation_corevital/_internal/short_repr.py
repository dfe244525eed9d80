"""What an object prints as at a prompt: bounded, whatever it holds, since notebooks and debuggers print everything."""

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Final

from .printable import ELLIPSIS

MOST: Final = 1500
"""Characters that one object prints at most."""
_MOST_NAME: Final = 80
_MOST_LISTED: Final = 10


class _Short(reprlib.Repr):
    """Python's own bounded repr; of an array it says type and shape."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxstring, self.maxother = 4, 16, 120, 300
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 8

    def repr1(self, x: Any, level: int) -> str:
        if hasattr(x, "dtype") and getattr(x, "shape", None):
            return f"<{x.dtype} {'x'.join(map(str, x.shape))}>"
        if isinstance(x, Mapping) and not isinstance(x, dict):
            x = dict(x)
        return super().repr1(x, level)


_SHORT: Final = _Short()


def short_repr(value: Any) -> str:
    """Return an instance of a dataclass as its class and the fields that differ from their defaults; a `__repr__`."""
    shown = [each for each in fields(value) if each.repr and not _is_default(each, getattr(value, each.name))]
    return call_like(type(value).__name__, {each.name: getattr(value, each.name) for each in shown})


def call_like(name: str, values: Mapping[str, Any]) -> str:
    """Return `name(key=value, ...)`, bounded."""
    return _cut(f"{name}({', '.join(f'{key}={short_value(value)}' for key, value in values.items())})", ")")


def short_value(value: Any) -> str:
    """Return the repr of a value that something holds, bounded: long texts, lists and mappings are cut."""
    return _cut(_SHORT.repr(value), "")


def run_line(kind: str, parts: Iterable[str]) -> str:
    """Return a run as one line between angle brackets, without content.

    Args:
        kind: name of its class.
        parts: what is said of it, each as it can be shown; empty ones are left out.
    """
    return f"<{kind} {', '.join(filter(None, parts))}>"


def short_name(name: str | None) -> str:
    """Return the repr of a model's name, which anybody may have given, bounded."""
    return repr(name if name is None or len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}{ELLIPSIS}")


def short_list(kind: str, what: str, items: list[Any]) -> str:
    """Return a list of runs as a line that counts them, and one for each of the first."""
    lines = [f"<{kind} of {len(items)} {what}{'' if len(items) == 1 else 's'}>", *map(repr, items[:_MOST_LISTED])]
    more = [f"and {len(items) - _MOST_LISTED} more"] if len(items) > _MOST_LISTED else []
    return _cut("\n  ".join([*lines, *more]), "")


def _is_default(each: "Field[Any]", value: Any) -> bool:
    if each.default is not MISSING:
        return value is each.default or (isinstance(value, str | int | float | tuple) and value == each.default)
    return each.default_factory is not MISSING and hasattr(value, "__len__") and not len(value)


def _cut(text: str, end: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - len(end) - 1]}{ELLIPSIS}{end}"
