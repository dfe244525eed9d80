"""A run that goes on, as it is shown: lines and a status that fit, each warning at the step where it begins."""

import itertools
import random
from typing import Any

import pytest
from rich.text import Text

from opentelemetry_instrumentation_corevital.presentation.live_text import NO_RISK, LiveCallView, Shown
from opentelemetry_instrumentation_corevital.presentation.text_lines import Lines, columns
from opentelemetry_instrumentation_corevital.presentation.token_strip import TokenPieces, token_pieces


class Step:
    """A step's event with what a test says of it."""

    flags: tuple[str, ...] | None = ()
    warning_signals: tuple[str, ...] | None = ()
    risk_so_far: float | None = 0.25

    def __init__(self, step_index: int, sequence_index: int = 0, **said: Any) -> None:
        self.step_index = step_index
        self.sequence_index = sequence_index
        self.entropy: float | None = 1.5
        self.surprisal: float | None = 0.5
        vars(self).update(said)


def told(shown: list[Shown]) -> list[str]:
    return [each.text.plain for each in shown if each.alone]


WORDS = ("The", " history", " a" * 9, "x" * 50, "\n", "\n\n", "  ", "\t")
PIECES = (*WORDS, " 宇宙の", "歴史", " 😀", "👩\u200d👧", "❤\ufe0f", "e\u0301")


@pytest.mark.parametrize("width", [2, 7, 40, 80])
@pytest.mark.parametrize("seed", range(5))
def test_lines_fit_and_lose_nothing(width: int, seed: int) -> None:
    pieces = random.Random(seed).choices(PIECES, k=200)
    lines, found = Lines(), list[Text]()
    for piece in pieces:
        found += lines.add(Text(piece), width)
        assert columns(lines.rest(width).plain) <= width
    found += lines.end(width)
    assert max(columns(line.plain) for line in found) <= width
    assert "".join("".join(line.plain for line in found).split()) == "".join("".join(pieces).split())


def test_a_line_breaks_between_words_and_keeps_its_colours() -> None:
    lines = Lines()
    found = [line for word in ("one", " two", " thr", "ee") for line in lines.add(Text(word, "red"), 8)]
    assert [line.plain for line in found] == ["one two"]
    assert lines.rest(8).plain == "three", "a word that grows moves as a whole"
    (last,) = lines.end(8)
    assert {str(span.style) for span in last.spans} == {"red"}


def test_text_goes_on_behind_a_line_that_came_between() -> None:
    for piece, begins in ((" on", "on"), ("\non", "on"), ("\n\non", "")):
        lines = Lines()
        lines.add(Text("goes"), 20)
        assert [line.plain for line in lines.end(20)] == ["goes"]
        found = [*lines.add(Text(piece), 20), lines.rest(20)]
        assert found[0].plain == begins


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (5, "step "),
        (12, "step 50/128"),
        (20, "step 50/128"),
        (40, "step 50/128  risk 0.45  entropy 4.00 bit"),
        (60, "step 50/128  risk 0.45  entropy 4.00 bit  █▁▃▅▇█  2 warnings"),
        (80, "step 50/128  risk 0.45  entropy 4.00 bit  ▅▇█▁▃▅▇█  2 warnings  no step for 12 s"),
        (
            140,
            "step 50/128  risk 0.45  entropy 4.00 bit  ▇█▁▃▅▇█▁▃▅▇█▁▃▅▇█  repetition risk, entropy rising  "
            "no step for 12 s  +1 sequence, risk up to 0.90",
        ),
    ],
)
def test_the_status_fits_and_what_matters_least_goes_first(width: int, line: str) -> None:
    view = LiveCallView(limit=128)
    for step in range(50):
        warnings = ("repetition_risk", "entropy_rising") if step > 9 else ()
        view.take(Step(step, entropy=float(step % 5), risk_so_far=0.45, warning_signals=warnings))
    view.take(Step(0, 1, risk_so_far=0.9))
    found = view.status(width, "no step for 12 s").plain
    assert columns(found) <= width
    assert found == line


def test_a_warning_is_told_at_the_step_where_it_begins() -> None:
    view, found = LiveCallView(), []
    active = {3: ("norm_jump",), 4: ("norm_jump",), 5: ("norm_jump", "repetition_risk"), 60: ("norm_jump",)}
    active |= dict.fromkeys((10, 12, 20, 35, 51), ("entropy_rising",))  # it flickers, and comes back in the end
    for step in range(64):
        flags = ("repetition_loop_detected",) if step >= 40 else ()
        found += told(view.take(Step(step, warning_signals=active.get(step, ()), flags=flags)))
    assert found == [
        "step 3: norm jump (risk so far 0.25)",
        "step 5: repetition risk (risk so far 0.25)",
        "step 10: entropy rising (risk so far 0.25)",
        "step 40: repetition loop (risk so far 0.25)",
        "step 51: entropy rising (risk so far 0.25)",
        "step 60: norm jump (risk so far 0.25)",
    ]


def test_of_other_sequences_there_is_a_count_and_what_warns() -> None:
    view = LiveCallView()
    shown = [
        each
        for step, sequence in itertools.product(range(3), range(4))
        for each in view.take(
            Step(step, sequence, risk_so_far=sequence / 4, warning_signals=("norm_jump",) * (sequence == 2)), "w"
        )
    ]
    assert "".join(each.text.plain for each in shown if not each.alone) == "www", "the text of one of them"
    assert told(shown) == ["sequence 2, step 0: norm jump (risk so far 0.50)"]
    assert view.status(80).plain.endswith("+3 sequences, risk up to 0.75")
    assert view.steps == 3


def test_what_was_not_measured_is_not_there() -> None:
    view = LiveCallView()
    steps = [Step(step, risk_so_far=None, warning_signals=None, flags=None, entropy=None) for step in range(3)]
    assert [told(view.take(step)) for step in steps] == [[NO_RISK], [], []]
    assert view.status(80).plain == "step 3"
    assert LiveCallView().status(80).plain == "no step yet"


def test_a_step_that_came_before_changes_nothing() -> None:
    view = LiveCallView()
    assert len(view.take(Step(4), "a")) == 1
    assert view.take(Step(4), "a") == []
    assert view.take(Step(2, risk_so_far=1.0), "b") == []
    assert view.status(80).plain.startswith("step 5  risk 0.25")


def test_what_steers_a_terminal_is_shown_as_text() -> None:
    view = LiveCallView()
    shown = view.take(Step(0, warning_signals=("\x1b[2J" * 50,)), "a\x1b[31m\u202eb\r\n")
    assert shown[0].text.plain == "a\\x1b[31m\\u202eb\\x0d\n"
    assert "\x1b" not in told(shown)[0]
    assert len(told(shown)[0]) < 80


def test_a_character_comes_whole_with_its_last_token(demo_folder: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_folder)
    text = "Größe → 零 😀👨\u200d👩\u200d👧 日本語, 한국어.\n\n\tEnd"
    tokens = tokenizer(text)["input_ids"]
    pieces = TokenPieces(tokenizer)
    found = [pieces.add(token) for token in tokens]
    assert "".join(found) == text
    assert not any("\ufffd" in piece for piece in found)
    assert found == token_pieces(tokenizer, tokens)
    half = tokenizer("😀")["input_ids"][:1]
    assert (pieces.add(half[0]), pieces.end(), pieces.end()) == ("", "\ufffd", "")
    assert "\ufffd" in "".join(pieces.add(half[0]) for _ in range(9)), "what is no character is not waited for"
