"""Text from elsewhere is shown as it can be, and can be turned back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital._internal.printable import json_printable, one_line, original, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\tb\nc\rd", "a\tb\nc\\x0dd"),
        ("\x7f\x80\x9b\x9f", r"\x7f\x80\x9b\x9f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        (r"\x1b", r"\x5cx1b"),
        (r"C:\temp \user", r"C:\temp \user"),
        ("\u0645\u06cc\u200c\u062e 👩\u200d👧", "\u0645\u06cc\u200c\u062e 👩\u200d👧"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert original(shown) == text


@given(st.text(st.characters(codec=None)))
def test_nothing_steers_and_nothing_is_lost(text: str) -> None:
    for shown in (printable(text), one_line(text)):
        assert original(shown) == text
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown.replace("\n", "").replace("\t", ""))
    assert "\n" not in one_line(text)
    packed = json.dumps(text, ensure_ascii=False)
    assert json.loads(json_printable(packed)) == json.loads(packed)


def test_a_cut_is_seen() -> None:
    assert one_line("m" * 3_000_000, 10) == "m" * 9 + "…"
    assert one_line("\x1b" * 10, 10) == r"\x1b\x1b\…"
    assert one_line("m" * 10, 10) == "m" * 10
