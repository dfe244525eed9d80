"""Graders: whether an answer has what a prompt set expects of it.

They follow what evaluation harnesses do, so that figures are comparable: lm-evaluation-harness compares short answers
without case and punctuation (`exact_match` with `ignore_case` and `ignore_punctuation`), and takes the last number of
an answer to GSM8K (its filter `flexible-extract`: `group_select: -1`), without dollar signs and thousands separators.
"""

import math
import re
import warnings
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from .bounded_search import any_matches

RELATIVE_TOLERANCE: Final = 1e-6
"""Two numbers are equal that differ by no more than this part of the larger one."""
_ENDS: Final = " .,;:!?\"'`*\u201c\u201d\u2018\u2019\u3002"
_SIGNS: Final = str.maketrans({"\u2212": "-", "\u2013": "-"})
_SEPARATORS: Final = re.compile(r"[,_'\u2019\u00a0\u2009\u202f]")
_NUMBER: Final = re.compile(
    r"(?<![A-Za-z0-9_])(?<![0-9]\.)"  # neither the 2 of H2O nor the 3 of 1.2.3
    r"(?P<sign>(?<![0-9)])[-+\u2212\u2013])?[$\u20ac\u00a3]?"  # 3-4 is no minus four
    r"(?P<digits>[0-9]{1,3}(?:[,_'\u2019\u00a0\u2009\u202f][0-9]{3})+(?![0-9])|[0-9]+|(?=\.[0-9]))"
    r"(?P<rest>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9A-Za-z]))?)"
    r"(?P<percent>[ \u00a0\u202f]?%)?"
)


class Grader(StrEnum):
    """How an answer is compared with each text that is expected; one that fits is enough."""

    CONTAINS = "contains"
    EXACT = "exact"
    REGEX = "regex"
    NUMBER = "number"


def is_met(grader: Grader, expected: Sequence[str], answer: str) -> bool | None:
    """Return whether an answer has one of the expected texts; None: it could not be told (`any_matches`)."""
    if grader is Grader.REGEX:
        return any_matches(expected, answer)
    compare = {Grader.CONTAINS: is_in, Grader.EXACT: is_exactly, Grader.NUMBER: is_number}[grader]
    return any(compare(text, answer) for text in expected)


def problem(grader: Grader, expected: str) -> str | None:
    """Return why a grader cannot look for a text, and what to do; None: it can."""
    if grader is Grader.EXACT and not _bare(expected):
        return "has nothing but punctuation; the grader exact passes over that, so choose another."
    if grader is Grader.NUMBER and _only_number(expected) is None:
        return "is no number; write one such as 72, -1,250.5 or 12%, or choose another grader."
    if grader is Grader.REGEX:
        try:
            with warnings.catch_warnings(action="ignore"):
                re.compile(expected)
        except (re.error, OverflowError, RecursionError) as error:
            return f"is no regular expression ({error}); a character that stands for itself has a \\ before it."
    return None


def is_in(expected: str, answer: str) -> bool:
    """Return whether a text is in an answer, in any case and with any blanks: 4 is in "2 + 2 = 4", and not in 42.

    A letter or digit of ASCII at its end is the end of a word; scripts without blanks between words have none.
    """
    wanted = _plain(expected)
    before = r"(?<!\w)" if re.match(r"\w", wanted, re.ASCII) else ""
    behind = r"(?!\w)" if re.search(r"\w\Z", wanted, re.ASCII) else ""
    return re.search(f"{before}{re.escape(wanted)}{behind}", _plain(answer), re.ASCII) is not None


def is_exactly(expected: str, answer: str) -> bool:
    """Return whether the first line of an answer that is not empty is a text, in any case and with any blanks.

    Punctuation and quotes around either are passed over: models end a word with a full stop.
    """
    line = next((line for line in answer.splitlines() if line.strip()), "")
    return _bare(line) == _bare(expected)


def is_number(expected: str, answer: str) -> bool:
    """Return whether the last number of an answer is a number, within `RELATIVE_TOLERANCE`.

    A number may have a sign, a currency before it, thousands separators (`1,250` or thin blanks), a decimal point, an
    exponent, and a percent sign behind it. Where one has a percent sign and the other has not, 12% is 12 or 0.12.
    """
    wanted = _only_number(expected)
    *_, last = [None, *_NUMBER.finditer(answer)]
    if wanted is None or last is None:
        return False
    (value, percent), (other, other_percent) = wanted, _value(last)
    readings = [(value, other)]
    if percent is not other_percent:
        readings.append((value / 100, other) if percent else (value, other / 100))
    return any(math.isfinite(b) and math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE) for a, b in readings)


def _only_number(text: str) -> tuple[float, bool] | None:
    """Return the number that a text is, and whether in percent; None: it is none that a float can be."""
    found = _NUMBER.fullmatch(text.strip())
    value = None if found is None else _value(found)
    return value if value is not None and math.isfinite(value[0]) else None


def _value(found: re.Match[str]) -> tuple[float, bool]:
    sign = (found["sign"] or "").translate(_SIGNS)
    digits = _SEPARATORS.sub("", found["digits"]) or "0"
    return float(f"{sign}{digits}{found['rest']}"), found["percent"] is not None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _bare(text: str) -> str:
    return _plain(text).strip(_ENDS)
