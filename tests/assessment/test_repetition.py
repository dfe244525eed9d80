"""Repetition in token streams: levels, periods, onset; online equals a slow definition over the whole stream."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.assessment.repetition import Repetition, RepetitionDetector
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT


def feed(tokens: list[int]) -> list[Repetition | None]:
    detector = RepetitionDetector()
    return [detector.update(token) for token in tokens]


def different(count: int, seed: int = 0) -> list[int]:
    """Return tokens that do not repeat."""
    return np.random.default_rng(seed).permutation(100_000)[:count].tolist()


@pytest.mark.parametrize("period", [1, 2, 8, 13, 17, 54, 64])
def test_a_loop_is_found_with_its_period_and_onset(period: int) -> None:
    lead, unit = different(40), different(period, seed=1)
    found = feed(lead + unit * (2 + 80 // period))
    last = found[-1]
    assert last is not None
    assert last.loop
    assert last.period == period
    assert last.start_step == 40
    assert last.onset_step == 40 + period
    assert last.copies == pytest.approx(2 + 80 // period)
    first_loop = next(step for step, repetition in enumerate(found) if repetition and repetition.loop)
    needed = max(DEFAULT.loop_tokens, DEFAULT.loop_copies * period)
    assert first_loop == 40 + needed - 1, "a loop is told at the first token that makes it one"


def test_two_copies_are_a_warning_and_no_loop() -> None:
    unit = different(30)
    found = feed(unit + unit)
    assert found[-1] is not None
    assert not found[-1].loop
    first = next(step for step, repetition in enumerate(found) if repetition)
    assert first == 30 + DEFAULT.repetition_tokens - 1


def test_a_period_above_the_limit_is_not_seen() -> None:
    assert not any(feed(different(65) * 4))


def test_tokens_that_do_not_repeat_raise_nothing() -> None:
    assert not any(feed(different(3000)))


def test_short_repetition_is_nothing() -> None:
    assert not any(feed([1, 2, 3, *[7] * 8, 4, 5, 6]))
    assert any(feed([1, 2, 3, *[7] * 9, 4, 5, 6]))


def test_a_loop_that_was_left_is_over() -> None:
    found = feed(different(9) * 8 + different(30, seed=2))
    assert any(repetition and repetition.loop for repetition in found)
    assert found[-1] is None


def slow(tokens: list[int]) -> tuple[int, int, bool] | None:
    """Return (period, matched tokens, loop) at the stream's end, by looking back for every period."""
    best = None
    for period in range(1, DEFAULT.max_period + 1):
        matched = 0
        while len(tokens) - 1 - matched - period >= 0 and tokens[-1 - matched] == tokens[-1 - matched - period]:
            matched += 1
        span = matched + period
        if matched >= DEFAULT.repetition_tokens and span >= 32 and span >= DEFAULT.loop_copies * period:
            return period, matched, True
        if matched >= DEFAULT.repetition_tokens and (best is None or matched > best[1]):
            best = (period, matched, False)
    return best


@given(st.lists(st.integers(0, 2), max_size=120))
@settings(max_examples=300, deadline=None)
def test_online_equals_looking_back(tokens: list[int]) -> None:
    for end, repetition in enumerate(feed(tokens), start=1):
        expected = slow(tokens[:end])
        assert (repetition is None) == (expected is None)
        if repetition is not None and expected is not None:
            period, matched, loop = expected
            assert (repetition.loop, repetition.onset_step) == (loop, end - matched)
            assert repetition.period == period
