"""Text that comes piece by piece, as lines that fit: wide characters count as two columns."""

import re
from typing import Final

from rich.cells import get_character_cell_size
from rich.text import Text

_WIDE_PICTURE: Final = "\ufe0f"  # makes the character before it a picture, which is wide
_WORDS: Final = re.compile(r"\s+|\S+")
_TAB: Final = "    "


def columns(text: str) -> int:
    """Return how many columns a text takes at most: of joined emoji the sum, as terminals differ."""
    return sum(get_character_cell_size(character) + (character == _WIDE_PICTURE) for character in text)


def cut(text: Text, width: int) -> Text:
    """Return as much of a text's beginning as fits."""
    taken = 0
    for index, character in enumerate(text.plain):
        taken += columns(character)
        if taken > width:
            return text[:index]
    return text


def without_beginning(piece: Text) -> Text:
    """Return text without the blanks, or the line end, with which it would begin a line of its own."""
    kept = piece.plain.lstrip(" \t")
    return piece[len(piece.plain) - len(kept) + kept.startswith("\n") :]


class Lines:
    """Lines of at most `width` columns, broken between words where that is possible."""

    def __init__(self) -> None:
        self._rest = Text()
        self._broken = False
        """Whether the last line was ended before its text was."""

    def add(self, piece: Text, width: int) -> list[Text]:
        """Add a piece, and return the lines that no later piece can change."""
        if piece.plain and self._broken:
            piece, self._broken = without_beginning(piece), False
        self._rest.append_text(_without_tabs(piece))
        *ended, rest = self._rest.split("\n", allow_blank=True)
        lines = [line for each in ended for line in _wrapped(each, width)]
        *full, self._rest = _wrapped(rest, width)
        return [*map(_shown, lines), *map(_shown, full)]

    def rest(self, width: int) -> Text:
        """Return the line that is not full yet, as it can be shown."""
        return cut(self._rest, width)

    def end(self, width: int) -> list[Text]:
        """Return the line that is not full yet, if there is one; the next piece begins another."""
        rest, self._rest = cut(self._rest, width), Text()
        self._broken = self._broken or bool(rest.plain)
        return [_shown(rest)] if rest.plain.strip() else []


def _wrapped(line: Text, width: int) -> list[Text]:
    """Return the parts of a line, one at least; blanks at the end of one may go beyond the width."""
    begins: list[int] = []
    taken = 0
    for found in _WORDS.finditer(line.plain):
        word, size = found[0], columns(found[0])
        if not word.isspace() and size <= width < taken + size:
            begins.append(found.start())
            taken = 0
        if not word.isspace() and size > width:  # longer than a line, as text without blanks is
            for offset, character in enumerate(word, found.start()):
                size = columns(character)
                if taken and taken + size > width:
                    begins.append(offset)
                    taken = 0
                taken += size
        else:
            taken += size
    return list(line.divide(begins))


def _without_tabs(piece: Text) -> Text:
    if "\t" not in piece.plain:
        return piece
    return Text(_TAB).join(piece.split("\t", allow_blank=True))


def _shown(line: Text) -> Text:
    shown = line.copy()
    shown.rstrip()
    return shown
