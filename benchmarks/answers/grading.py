"""Whether an answer is right: case, blanks and marks around it do not count."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from zoo.tasks import folded

_LEAD = re.compile(r"^(?:an?|the) ")
_END = re.compile(r"[.,;:!?()\[\]\"“”]")


def short(text: str) -> str:
    """Return the first line of an answer up to its first mark, folded, without an article before it."""
    return _LEAD.sub("", folded(_END.split(folded(text), maxsplit=1)[0])).strip(" '*")


def is_short(text: str, answers: Sequence[str]) -> bool:
    """Tell whether the first line of an answer, up to its first mark, is one of the expected ones."""
    return short(text) in map(short, answers)


def is_line(text: str, answers: Sequence[str]) -> bool:
    """Tell whether the first line of an answer is one of the expected ones, as the zoo grades its tasks."""
    return folded(text) in map(folded, answers)


def contains(text: str, answers: Sequence[str]) -> bool:
    """Tell whether an answer has one of the expected ones as whole words."""
    return any(re.search(rf"(?<!\w){re.escape(each)}(?!\w)", text, re.IGNORECASE) for each in answers)


def begins(text: str, answers: Sequence[str]) -> bool:
    """Tell whether the first word of an answer is one of the expected ones."""
    words = re.findall(r"\w+", text.lower())
    return bool(words) and words[0] in {answer.lower() for answer in answers}


GRADES: Final[dict[str, Callable[[str, Sequence[str]], bool]]] = {
    "short": is_short,
    "line": is_line,
    "contains": contains,
    "begins": begins,
}
"""How an answer is graded, by name."""
