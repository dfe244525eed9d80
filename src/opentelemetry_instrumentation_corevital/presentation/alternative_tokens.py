"""What the model could have said at each step, as it is shown: from a run's columns, with text where it is known."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._internal.alternatives import Alternatives
from .._internal.printable import printable
from ..catalogue import alternative_names

_INCOMPLETE: Final = "\ufffd"
"""What a decoder makes of a part of a character."""
_DIGITS: Final = 6
"""Of a probability: float32 has seven."""

Steps = Sequence[Sequence[tuple[float, int | None]]]
"""Of each step its tokens: the probability, and the id where it is known."""


class Pieces(list[str]):
    """The text of a run's tokens, and what reads other tokens of its model.

    Args:
        pieces: what each generated token adds to the text.
        tokenizer: of the model.
    """

    def __init__(self, pieces: Iterable[str], tokenizer: Any) -> None:
        super().__init__(pieces)
        self._tokenizer = tokenizer

    def text(self, token: int) -> str | None:
        """Return the text of a token that stands alone; None where it has none of its own, as a part of a character."""
        try:
            found = str(self._tokenizer.decode([token]))
        except (LookupError, OverflowError, ValueError, TypeError):
            return None
        return printable(found) if found and _INCOMPLETE not in found else None


def alternatives_in(columns: Mapping[str, NDArray[Any]]) -> Alternatives | None:
    """Return the alternatives that a run's columns have; None where they have none."""
    probabilities = columns.get(alternative_names.PROBABILITY)
    if probabilities is None:
        return None
    tokens = columns.get(alternative_names.TOKEN)
    return Alternatives(probabilities, tokens if tokens is not None and tokens.shape == probabilities.shape else None)


def steps_of(found: Alternatives, most: int | None = None) -> Steps:
    """Return what each step could have said; nothing of a step without a distribution.

    Args:
        found: the alternatives.
        most: steps at most; None: all.
    """
    probabilities = found.probabilities[:most].astype(np.float64).round(_DIGITS).tolist()
    unknown = [[None] * len(row) for row in probabilities]
    tokens: Sequence[Sequence[int | None]] = unknown if found.tokens is None else found.tokens[:most].tolist()
    return [
        [(value, token) for value, token in zip(*row, strict=True) if not math.isnan(value) and token != -1]
        for row in zip(probabilities, tokens, strict=True)
    ]


def text_of(token: int, pieces: Sequence[str] | None) -> str:
    """Return the text of a token; its id in brackets where nobody here can read it."""
    found = pieces.text(token) if isinstance(pieces, Pieces) else None
    return f"[{token}]" if found is None else found


def alternatives_json(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return `alternatives` for JSON, each step's tokens, with ids where these are stored; empty without them."""
    found = alternatives_in(columns)
    if found is None:
        return {}
    steps = [[_named(*pair) for pair in step] for step in steps_of(found)]
    return {"alternatives": steps}


def _named(probability: float, token: int | None) -> dict[str, Any]:
    return {"probability": probability, **({} if token is None else {"token_id": token})}
