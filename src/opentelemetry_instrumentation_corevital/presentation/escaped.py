"""Foreign text in HTML of a bounded length: escaped, in one line, cut where it would take too many characters."""

from collections.abc import Iterable
from html import escape
from typing import Final

from .._internal.printable import ELLIPSIS, one_line, printable

_LONGEST: Final = 6
"""Characters that one character becomes at most (`&quot;`)."""


def escaped(text: str, most: int) -> str:
    """Return text as it can stand between tags or in an attribute, in `most` characters."""
    return _cut(one_line("; ".join(text.splitlines()) if "\n" in text else text, most), most)


def escaped_lines(text: str, most: int) -> str:
    """Return text that keeps its line ends and blanks, in `most` characters."""
    return _cut(printable(text[:most]) if len(text) <= most else f"{printable(text[:most])}{ELLIPSIS}", most)


def that_fit(parts: Iterable[str], room: int) -> tuple[list[str], int]:
    """Return the first parts that fit into so many characters, and the room that is left."""
    kept = []
    for part in parts:
        if len(part) > room:
            break
        kept.append(part)
        room -= len(part)
    return kept, room


def _cut(text: str, most: int) -> str:
    found = escape(text)
    if len(found) <= most:
        return found
    short = text[: most - _LONGEST]
    while len(found := escape(short)) >= most:
        short = short[: max(0, len(short) - max(1, (len(found) - most) // _LONGEST))]
    return f"{found}{ELLIPSIS}"
