"""How answers are compared with what a prompt set expects."""

import time
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.cli.bounded_search import any_matches
from opentelemetry_instrumentation_corevital.cli.graders import Grader, is_exactly, is_in, is_met, is_number, problem


@pytest.mark.parametrize(
    ("expected", "answer", "found"),
    [
        ("4", "2 + 2 = 4.", True),
        ("4", "42", False),
        ("4", "w47", False),
        ("PARIS", "It is Paris", True),
        ("Paris", "Parisian", False),
        ("New  York", "new\nyork!", True),
        ("Straße", "STRASSE", True),
        ("東京", "それは東京です", True),
        ("a+b?", "(a+b?)", True),
        ("(x)", "f(x)y", True),
    ],
)
def test_an_expected_text_is_looked_for_as_words(expected: str, answer: str, found: bool) -> None:
    assert is_in(expected, answer) is found


@pytest.mark.parametrize(
    ("expected", "answer", "found"),
    [
        ("Mars", "\n  mars.\nIt is red.", True),
        ("mars", '**"Mars"**', True),
        ("Mars", "It is Mars.", False),
        ("Mars", "It is red.\nMars", False),
        ("Mars", "", False),
        ("Red  planet", "red\tPLANET!", True),
        ("a+b", "a+b", True),
        ("a+b", "aab", False),
    ],
)
def test_exactly_the_first_line_is_compared(expected: str, answer: str, found: bool) -> None:
    assert is_exactly(expected, answer) is found


@pytest.mark.parametrize(
    ("expected", "answer", "found"),
    [
        ("72", "She sold 48 in April and 24 in May, 72 in all.", True),
        ("72", "72 in all: 48 and 24", False),  # the last one counts
        ("18", "so he has\n#### 18", True),
        ("1250", "That is $1,250.", True),
        ("1,250.50", "1250.5 dollars", True),
        ("1250000", "1\u202f250\u202f000", True),
        ("-3", "the answer is \u22123", True),
        ("3", "the answer is -3", False),
        ("4", "see pages 3-4", True),
        ("-4", "see pages 3-4", False),
        ("-5", "a loss of -$5", True),
        ("0.5", "about .5", True),
        ("1.5e3", "1500", True),
        ("3.1415926", "3.1415927", True),
        ("3.1415", "3.1416", False),
        ("0", "0.0", True),
        ("0", "0.0000001", False),
        ("12%", "12 %", True),
        ("12%", "12", True),
        ("12%", "0.12", True),
        ("12", "12%", True),
        ("12%", "0.12%", False),
        ("12", "0.12", False),
        ("2", "H2O and w2", False),
        ("3", "version 1.2.3", False),
        ("5", "5kg", True),
        ("7", "none", False),
        ("9", "9" * 400, False),
    ],
)
def test_the_last_number_is_compared(expected: str, answer: str, found: bool) -> None:
    assert is_number(expected, answer) is found


@pytest.mark.parametrize("answer", ["1" + ",111" * 20_000 + ",11", "9" * 50_000, "-" * 50_000 + "1", ". " * 50_000])
def test_a_long_answer_has_its_number_found_soon(answer: str) -> None:
    began = time.process_time()
    is_number("7", answer)
    assert time.process_time() - began < 1.0


def test_a_regular_expression_is_searched_and_one_of_several_is_enough() -> None:
    assert is_met(Grader.REGEX, ("x", r"^\d{4}\b(?m:$)"), "1912\nand more") is True
    assert is_met(Grader.REGEX, ("Paris",), "PARIS") is False
    assert is_met(Grader.REGEX, ("(?i)paris",), "\u00e9 PARIS \ud83d") is True
    assert is_met(Grader.NUMBER, ("7", "8"), "8") is True
    assert is_met(Grader.EXACT, ("7", "8"), "it is 8") is False
    assert is_met(Grader.CONTAINS, ("7", "8"), "it is 8") is True


def test_a_pattern_that_would_take_for_ever_is_broken_off() -> None:
    began = time.monotonic()
    assert any_matches(["(a+)+b"], "a" * 60, seconds=0.5) is None
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("grader", "expected", "told"),
    [
        ("regex", "(", "is no regular expression (missing ), unterminated subpattern at position 0)"),
        ("regex", "a{99999999999}", "is no regular expression"),
        ("regex", "(" * 5000 + ")" * 5000, "is no regular expression"),
        ("number", "seven", "is no number; write one such as 72"),
        ("number", "1 or 2", "is no number"),
        ("number", "1e999", "is no number"),
        ("exact", " .", "has nothing but punctuation"),
        ("regex", r"[[a]\d", None),
        ("number", " -1,250.5 %", None),
        ("exact", "Mars.", None),
        ("contains", "(", None),
    ],
)
def test_what_a_grader_cannot_look_for_is_told(grader: Any, expected: str, told: str | None) -> None:
    found = problem(Grader(grader), expected)
    assert found is None if told is None else found is not None and told in found
