"""Repetition in token streams: levels, periods, onset; online equals a slow definition over the whole stream."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.assessment.repetition import (
    ExactRepetition,
    NearRepetition,
    Repetition,
    RepetitionDetector,
)
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


@pytest.mark.parametrize("change", ["one word", "an inserted line break", "a left-out word"])
def test_a_loop_whose_copies_differ_a_little_is_found(change: str) -> None:
    lead, unit = different(40), different(20, seed=1)
    tokens = list(lead)
    for copy in range(6):
        altered = list(unit)
        if copy in (1, 2, 4):
            if change == "one word":
                altered[7] = 200_000 + copy
            elif change == "an inserted line break":
                altered.append(300_000)
            else:
                del altered[5]
        tokens += altered
    found = feed(tokens)
    last = found[-1]
    assert last is not None
    assert last.loop
    assert not last.exact
    assert abs(last.period - 20) <= 1
    assert 55 <= last.onset_step <= 70, "about where the second copy began"
    assert last.copies > 4
    first_loop = next(step for step, repetition in enumerate(found) if repetition and repetition.loop)
    assert first_loop < 40 + 4 * 20


def test_a_template_with_new_words_in_each_line_is_no_loop() -> None:
    fresh = iter(different(400, seed=3))
    tokens = [token for _ in range(20) for token in (1, 2, 3, next(fresh), 4, 5, next(fresh), next(fresh), 6)]
    assert not any(repetition and repetition.loop for repetition in feed(tokens))


def slow_near(tokens: list[int]) -> tuple[int, int] | None:
    """Return (period, onset) of a near loop at the stream's end, judged from the whole stream."""
    size = DEFAULT.near_gram
    distances: list[int | None] = []
    for end in range(len(tokens)):
        gram = tokens[end - size + 1 : end + 1]
        back = (d for d in range(1, DEFAULT.max_period + 1) if end - d >= size - 1)
        distances.append(
            next((d for d in back if tokens[end - d - size + 1 : end - d + 1] == gram), None)
            if end >= size - 1
            else None
        )
    repeated = [end for end, distance in enumerate(distances) if distance is not None]
    if not repeated or len(tokens) - 1 - repeated[-1] > DEFAULT.near_gap:
        return None
    begin = repeated[-1]
    for end in reversed(repeated):
        if begin - end - 1 > DEFAULT.near_gap:
            break
        begin = end
    stretch = [end for end in repeated if end >= begin]
    length = stretch[-1] - begin + 1
    latest = [distances[end] for end in stretch][-DEFAULT.max_period :]
    counts = {d: latest.count(d) for d in latest}
    period = next(d for d in latest if counts[d] == max(counts.values()))
    spanned = length + size - 1
    if len(stretch) < DEFAULT.near_share * length or period is None:
        return None
    if spanned + period < DEFAULT.near_loop_tokens or spanned < (DEFAULT.loop_copies - 1) * period:
        return None
    return period, begin - size + 1


@given(st.lists(st.integers(0, 3), max_size=140))
@settings(max_examples=200, deadline=None)
def test_near_online_equals_judging_the_whole_stream(tokens: list[int]) -> None:
    detector = NearRepetition()
    for end, repetition in enumerate([detector.update(token) for token in tokens], start=1):
        expected = slow_near(tokens[:end])
        assert (repetition is None) == (expected is None)
        if repetition is not None and expected is not None:
            assert (repetition.period, repetition.onset_step) == expected


def test_state_is_bounded() -> None:
    detector = NearRepetition()
    for token in different(5000):
        detector.update(token)
    assert len(detector._last) <= DEFAULT.max_period
    assert len(detector._grams) <= DEFAULT.max_period


def test_a_loop_that_was_left_is_over() -> None:
    found = feed(different(9) * 8 + [token + 200_000 for token in different(30, seed=2)])
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
    detector = ExactRepetition()
    for end, repetition in enumerate([detector.update(token) for token in tokens], start=1):
        expected = slow(tokens[:end])
        assert (repetition is None) == (expected is None)
        if repetition is not None and expected is not None:
            period, matched, loop = expected
            assert (repetition.loop, repetition.onset_step) == (loop, end - matched)
            assert repetition.period == period
