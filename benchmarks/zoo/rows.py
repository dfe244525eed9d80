"""What is known of one collected run, before it is written."""

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from runset.labels import LOOP, NEW, PIECE, copied_tail, fold, loop_onset

from .prompts import Prompt

Group = Literal["healthy", "loop", "structured", "fault", "task"]
Side = Literal["held_out", "baseline", ""]


@dataclass(slots=True)
class Sampled:
    """One of the answers that are sampled beside the greedy one."""

    tokens: NDArray[np.int32]
    surprisal: float
    """Summed over the tokens, bit."""
    right: bool
    answer: int
    """Number of its text among the different answers to the question, the greedy one's being 0."""


@dataclass(slots=True)
class Row:
    """A run with what is known of it; of what does not concern its group the defaults stay."""

    group: Group
    prompt: Prompt
    number: int
    """Of its prompt."""
    limit: int
    temperature: float
    run: Any
    text: str
    side: Side = ""
    onset: int | None = None
    """Token at which the second copy of the loop begins in which its text ends."""
    copies: bool = False
    """Whether its text ends in three or more exact copies."""
    fault: str = ""
    layer: int | None = None
    step: int | None = None
    kl: float = np.nan
    """Bit: mean Kullback-Leibler divergence of the next token, the model's from the faulty one's, from the fault on."""
    task: str = ""
    level: int | None = None
    right: bool | None = None
    samples: list[Sampled] = field(default_factory=list)
    spectrum: NDArray[np.float32] | None = None
    """[layers] nat: Renyi-2 entropy of the projected states' second moment."""

    @property
    def loop(self) -> bool:
        """Whether its text ends in a loop; structured text does only where its values recur."""
        return self.copies if self.structured else self.onset is not None or self.copies

    @property
    def structured(self) -> bool:
        """Whether it was begun with structured text."""
        return self.group == "structured" or self.prompt.kind == "structured"

    @property
    def ended(self) -> bool:
        """Whether the model ended it by itself."""
        return bool(self.run.finish_reason == "stop")


LOOP_TOKENS: Final = 32
"""Tokens that the copies of a loop span at least."""
LAX_PIECE, LAX_NEW, LAX_SHARE_NEW, LAX_TAIL, LAX_COPIES = 8, 16, 0.25, 30, 20
"""Characters, and a share of them: what makes a text's end repetitive."""


def ends_in_copies(text: str | list[int], least: int = LOOP) -> bool:
    """Tell whether a text ends in three or more exact copies that span at least so many characters, or tokens."""
    for period in range(1, len(text) // 3 + 1):
        span = period * max(3, -(-least // period))
        if span <= len(text) and text[-span + period :] == text[-span:-period]:
            return True
    return False


def may_loop(text: str) -> bool:
    """Tell whether a folded text can end in a loop, faster than `loop_onset`: most do not.

    The copied tail of a loop ends with a piece that stood twice before, and at most `NEW` characters after it.
    """
    last = range(max(0, len(text) - NEW - PIECE), len(text) - PIECE + 1)
    return any(_occurrences(text, text[begin : begin + PIECE]) >= 3 for begin in last)


def is_repetitive(text: str) -> bool:
    """Tell whether a text's end repeats itself so much that a reader could call it a loop, or not.

    Laxer than a loop's label in every way: a shorter copied tail, of shorter pieces, with more between them; numbers
    count as copies of each other. What is neither this nor a loop is plainly none.
    """
    plain = fold(text)
    for each in (plain, re.sub(r"\d+", "0", plain)):
        tail = copied_tail(each, 2, piece=LAX_PIECE, new=LAX_NEW, share_new=LAX_SHARE_NEW)
        if tail.length >= LAX_TAIL or ends_in_copies(each.rstrip(), LAX_COPIES):
            return True
    return False


def _occurrences(text: str, piece: str) -> int:
    count, at = 0, text.find(piece)
    while at >= 0 and count < 3:
        count, at = count + 1, text.find(piece, at + 1)
    return count


def label(row: Row, tokenizer: Any) -> None:
    """Find out whether a run ends in a loop, from its text and tokens alone: a token may be a digit, or a phrase."""
    row.copies = ends_in_copies(row.text.rstrip()) or ends_in_copies(row.run.tokens.tolist(), LOOP_TOKENS)
    text = fold(row.text)
    begin = loop_onset(text) if may_loop(text) else None
    if begin is not None:
        row.onset = _token_at(tokenizer, row.run.tokens, begin)


def _token_at(tokenizer: Any, tokens: NDArray[np.int32], begin: int) -> int:
    """Return the index of the token with which a folded text is longer than `begin` characters."""
    low, high = 0, len(tokens) - 1
    while low < high:
        middle = (low + high) // 2
        if len(fold(tokenizer.decode(tokens[: middle + 1].tolist(), skip_special_tokens=True))) > begin:
            high = middle
        else:
            low = middle + 1
    return low
