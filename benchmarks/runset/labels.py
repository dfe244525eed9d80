"""Loop labels of finished runs, from their text alone.

Independent of the online detector on purpose: it looks at the whole text at once, at characters instead of tokens, has
no limit on the period, and asks how much of the text's end can be copied from before, not for lags or token grams.

The text (lower case, white space folded) is cut greedily, from left to right, into the longest pieces that stood in it
at least `earlier` times before (Lempel and Ziv's factors with a count). Its *copied tail* is the longest stretch at its
end in which pieces shorter than `PIECE` characters, what is new, come no more than `NEW` characters in a row and make
up at most `SHARE_NEW`. A text ends in a loop if its tail of pieces that stood there twice before has `LOOP` characters;
the loop's second copy begins where the tail of pieces that stood there once begins.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass

PIECE = 12
NEW = 12
SHARE_NEW = 0.15
LOOP = 60


@dataclass(frozen=True, slots=True)
class Tail:
    """A copied tail: where it begins in the folded text, and how long it is."""

    begin: int
    length: int


def fold(text: str) -> str:
    """Return a text in lower case with single blanks."""
    return re.sub(r"\s+", " ", text.lower())


def pieces(text: str, earlier: int) -> list[tuple[int, int]]:
    """Cut a text into (begin, length): the longest pieces that stood in it at least `earlier` times before."""
    found, begin = [], 0
    while begin < len(text):
        length = max(1, _longest(text, begin, earlier))
        found.append((begin, length))
        begin += length
    return found


def _longest(text: str, begin: int, earlier: int) -> int:
    """Return the greatest length for which text[begin:begin+length] begins `earlier` times before `begin`."""
    lengths = range(len(text) - begin + 1)
    return bisect_left(lengths, True, key=lambda length: not _stood(text, begin, length, earlier)) - 1


def _stood(text: str, begin: int, length: int, earlier: int) -> bool:
    piece, at = text[begin : begin + length], -1
    for _ in range(earlier):
        at = text.find(piece, at + 1, begin + length - 1)
        if at < 0:
            return length == 0
    return True


def copied_tail(text: str, earlier: int, piece: int = PIECE, new: int = NEW, share_new: float = SHARE_NEW) -> Tail:
    """Return the copied tail of a folded text: of pieces that stood in it at least `earlier` times before."""
    best, new_total, new_row = len(text), 0, 0
    for begin, length in reversed(pieces(text, earlier)):
        if length >= piece:
            new_row = 0
            if new_total <= share_new * (len(text) - begin):
                best = begin
        else:
            new_row += length
            new_total += length
            if new_row > new:
                break
    return Tail(best, len(text) - best)


def loop_onset(text: str) -> int | None:
    """Return where the second copy of the loop begins in which a folded text ends; None where it ends in no loop."""
    return copied_tail(text, 1).begin if copied_tail(text, 2).length >= LOOP else None


def is_correct(answer: str, expected: list[str]) -> bool:
    """Tell whether an answer is right.

    Of answers that are one of a few words, or a number, the first one in the text counts; of others, that one of the
    expected ones occurs at the beginning of a word.
    """
    text, wanted = fold(answer).strip(), [fold(one) for one in expected]
    for choices in (r"\b(true|false)\b", r"\b(yes|no)\b", r"-?\d+"):
        if all(re.fullmatch(choices, one) for one in wanted):
            first = re.search(choices, text)
            return first is not None and first[0] in wanted
    return any(re.search(rf"(?<!\w){re.escape(one)}", text) for one in wanted)
