"""The generated text with each token coloured by its surprisal."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rich.text import Text

from .._internal.printable import printable
from ..run import Run

_CONTEXT: Final = 16  # tokens decoded before a token, so that its piece comes out as it stands in the text

# Surprisal in bit from which a colour holds.
_COLOURS: Final = ((8.0, "red"), (4.0, "dark_orange"), (2.0, "yellow"), (0.0, "green"))


def token_pieces(tokenizer: Any, tokens: Sequence[int]) -> list[str]:
    """Return the text that each token adds; a character made of several tokens comes with its last one."""
    pieces = []
    shown = 0  # tokens whose text is out
    for index in range(len(tokens)):
        start = max(0, shown - _CONTEXT)
        before = tokenizer.decode(tokens[start:shown])
        after = tokenizer.decode(tokens[start : index + 1])
        if after.endswith("\ufffd") and index + 1 < len(tokens):
            pieces.append("")
            continue
        pieces.append(after[len(before) :])
        shown = index + 1
    return pieces


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
