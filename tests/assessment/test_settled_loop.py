"""When a loop has settled, so that policies act on it."""

from collections.abc import Sequence
from math import nan

import pytest

from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector
from opentelemetry_instrumentation_corevital.assessment.settled_loop import SettledLoop

SENTENCE = list(range(100, 112))
OPENING = list(range(500, 540))


def settles_at(tokens: Sequence[int], bits: float = 0.1, prompt: Sequence[int] = ()) -> int | None:
    """Return the first step at which a loop has settled, each token with the same surprisal."""
    repetition, settled = RepetitionDetector(), SettledLoop(prompt=lambda: prompt)
    for step, token in enumerate(tokens):
        if settled.update(step, token, bits, repetition.update(token)):
            return step
    return None


def looped(copies: int, copy: Sequence[int] = SENTENCE) -> list[int]:
    return OPENING + list(copy) * copies


def test_a_loop_settles_in_its_third_copy_or_soon_after() -> None:
    step = settles_at(looped(6))
    assert step is not None
    assert 2.8 <= (step + 1 - len(OPENING)) / len(SENTENCE) <= 4


def test_it_does_not_where_going_round_again_is_unlikely() -> None:
    assert settles_at(looped(6), bits=1.0) is None  # 12 bit a copy
    assert settles_at(looped(6), bits=0.8) is not None


def test_a_step_without_surprisal_counts_as_certain() -> None:
    assert settles_at(looped(6), bits=nan) == settles_at(looped(6), bits=0.0)


def test_it_does_not_where_values_change() -> None:
    rows = [token for row in range(8) for token in (*SENTENCE, 900 + row)]
    assert settles_at(OPENING + rows) is None


def test_a_short_period_has_to_last() -> None:
    step = settles_at(looped(100, [7, 8]))
    assert step is not None
    assert step + 1 - len(OPENING) >= 96


@pytest.mark.parametrize(("copies", "settles"), [(10, False), (12, True)])
def test_what_the_prompt_asks_for_has_to_last(copies: int, settles: bool) -> None:
    assert (settles_at(looped(copies), prompt=[1, 2, *SENTENCE, 3]) is not None) is settles


def test_a_loop_that_is_left_has_not_settled_any_more() -> None:
    repetition, settled = RepetitionDetector(), SettledLoop()
    tokens = looped(6) + list(range(2000, 2040))
    found = [settled.update(step, token, 0.1, repetition.update(token)) for step, token in enumerate(tokens)]
    assert any(found)
    assert not found[-1]
