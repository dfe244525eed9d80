"""What people say of runs."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .._internal.short_repr import short_repr
from .store_error import StoreError

CORRECT: Final = "correct"
OUTCOMES: Final = (CORRECT, "incorrect")
"""The words that calibration and evaluation understand; others are for one's own use."""
ANY_OR_NONE: Final = ("any", "none")
"""What a filter says for a run with a label, and for one without."""
_MOST_CHARACTERS: Final = 64


class LabelSource(StrEnum):
    """Where the outcome of a run is taken from."""

    ANY = "any"
    """A label, and without one whether the answer has what was expected."""
    GIVEN = "given"
    """Labels alone."""
    EXPECTED = "expected"
    """What was expected alone."""


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody said of a run."""

    outcome: str
    note: str | None
    labelled_ns: int

    __repr__ = short_repr


def check_outcome(outcome: str | None) -> None:
    """Refuse an outcome that is no word; None takes a label away.

    Raises:
        StoreError: with what to give.
    """
    if outcome is not None and not _is_word(outcome):
        raise StoreError(
            f"outcome {outcome!r}: give one word of at most {_MOST_CHARACTERS} letters, digits, - or _, "
            f"such as {' or '.join(OUTCOMES)}; {' and '.join(ANY_OR_NONE)} mean any label and none."
        )


def _is_word(outcome: str) -> bool:
    if outcome in ANY_OR_NONE:
        return False  # a filter could not tell it from them
    return 0 < len(outcome) <= _MOST_CHARACTERS and outcome.replace("-", "").replace("_", "").isalnum()
