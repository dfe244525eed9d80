"""The generated text with each token coloured by its surprisal."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rich.text import Text

from .._internal.printable import printable
from ..run import Run

_CONTEXT: Final = 16  # tokens decoded before a token, so that its piece comes out as it stands in the text
_INCOMPLETE: Final = "\ufffd"  # what a decoder makes of a character's first bytes
_MOST_WAITING: Final = 8  # tokens: a character has at most four bytes, so this is no character

# Surprisal in bit from which a colour holds.
_COLOURS: Final = ((8.0, "red"), (4.0, "dark_orange"), (2.0, "yellow"), (0.0, "green"))


class TokenPieces:
    """The text that each token adds, as tokens come; a character made of several tokens comes with its last one.

    Args:
        tokenizer: that of the model.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] = []
        """The last tokens whose text is out."""
        self._waiting: list[int] = []
        """Tokens after them, whose text ends in the middle of a character."""

    def add(self, token: int) -> str:
        """Return the text that is complete with this token; empty where it ends within a character."""
        self._waiting.append(token)
        found = self._text()
        return "" if found.endswith(_INCOMPLETE) and len(self._waiting) < _MOST_WAITING else self._out(found)

    def end(self) -> str:
        """Return the text of tokens that ended within a character."""
        return self._out(self._text()) if self._waiting else ""

    def _text(self) -> str:
        before = self._tokenizer.decode(self._before) if self._before else ""
        return str(self._tokenizer.decode([*self._before, *self._waiting])[len(before) :])

    def _out(self, found: str) -> str:
        self._before = [*self._before, *self._waiting][-_CONTEXT:]
        self._waiting = []
        return found


class SequencePieces:
    """The text that each token adds, for several sequences at once.

    Args:
        tokenizer: that of the model.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[int, TokenPieces] = {}

    def __call__(self, sequence: int, token: int) -> str:
        """Return what a sequence's next token adds to its text."""
        if sequence not in self._pieces:
            self._pieces[sequence] = TokenPieces(self._tokenizer)
        return self._pieces[sequence].add(token)


def token_pieces(tokenizer: Any, tokens: Sequence[int]) -> list[str]:
    """Return the text that each token adds; a character made of several tokens comes with its last one."""
    pieces = TokenPieces(tokenizer)
    found = [pieces.add(token) for token in tokens]
    return [*found[:-1], found[-1] + pieces.end()] if found else []


def coloured_text(tokenizer: Any, run: Run) -> Text:
    """Return the run's text; tokens without a surprisal keep the terminal's own colour."""
    pieces = token_pieces(tokenizer, run.tokens.tolist())
    surprisal = run.column("surprisal")
    text = Text()
    for index, piece in enumerate(pieces):
        style = "" if surprisal is None else colour(float(surprisal[index]))
        text.append(printable(piece), style)
    return text


def colour(bits: float) -> str:
    """Return the style of a surprisal."""
    if not np.isfinite(bits):
        return "bold red"
    return next(style for limit, style in _COLOURS if bits >= limit)


def legend() -> Text:
    """Return what the colours mean."""
    text = Text("surprisal: ", style="dim")
    names = {"green": "< 2 bit", "yellow": "2 to 4", "dark_orange": "4 to 8", "red": "8 and more"}
    for style, name in names.items():
        text.append(f" {name} ", style)
    return text
