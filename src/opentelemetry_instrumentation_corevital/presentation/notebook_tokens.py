"""The generated text in a notebook, with each token's surprisal as its ground."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np

from .. import semconv
from .escaped import escaped_lines, that_fit
from .shapes import RunShape

_ROOM: Final = 2_800
_MOST_TOKEN: Final = 120
_GRADES: Final = ((8.0, "s8"), (4.0, "s4"), (2.0, "s2"))
"""Surprisal in bit from which on a token has a ground -> its class."""
_LEGEND: Final = (
    '<p class="dim">surprisal from <span class="s2">&nbsp;2 bit&nbsp;</span> <span class="s4">&nbsp;4 bit&nbsp;</span>'
    ' <span class="s8">&nbsp;8 bit&nbsp;</span>{marked}</p>'
)
MOST_TOKENS: Final = 400
"""More than there is room for."""


def token_strip(run: RunShape, tokens: Sequence[str], begun: Sequence[tuple[int, str]]) -> str:
    """Return the text of a run's tokens, as far as there is room.

    Args:
        run: the run.
        tokens: text of its first tokens.
        begun: steps at which something began, each with its name: their tokens are framed.
    """
    at = {step for step, _ in begun}
    surprisal = run.columns.get("surprisal")
    grades = [f"{_grade(surprisal, step)}{' at' if step in at else ''}".strip() for step in range(len(tokens))]
    # A token is a part of its own where it has a class: those without one need no tags between them.
    parts = list(_parts(tokens, grades))
    kept, _ = that_fit((html for html, _ in parts), _ROOM)
    shown = sum(count for _, count in parts[: len(kept)])
    total = run.attributes.get(semconv.STEPS_TOTAL)
    beyond = max(len(tokens), total if isinstance(total, int) else 0) - shown
    more = f"<p>{beyond} more tokens: to_html() has them</p>" if beyond else ""
    marked = "; a frame marks where something began" if any(step < shown for step in at) else ""
    return f'<div class="tokens">{"".join(kept)}</div>{more}{_LEGEND.format(marked=marked)}'


def _parts(tokens: Sequence[str], grades: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the HTML of tokens, each that has a class by itself and the others a few at a time, and their number."""
    for grade, group in groupby(range(len(tokens)), lambda step: grades[step]):
        steps = list(group)
        for begin in range(0, len(steps), 1 if grade else 8):
            some = steps[begin : begin + (1 if grade else 8)]
            text = escaped_lines("".join(tokens[step] for step in some), _MOST_TOKEN)
            yield (f'<span class="{grade}">{text}</span>' if grade else text), len(some)


def _grade(surprisal: Any, step: int) -> str:
    if surprisal is None or step >= len(surprisal):
        return ""
    bits = float(surprisal[step])
    if not np.isfinite(bits):
        return "bad"
    return next((name for limit, name in _GRADES if bits >= limit), "")
