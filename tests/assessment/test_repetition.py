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


def first(found: list[Repetition | None], *, loop: bool) -> int:
    return next(step for step, told in enumerate(found) if told is not None and (told.loop or not loop))


@pytest.mark.parametrize("period", [1, 2, 8, 13, 17, 54, 64, 200, 256])
def test_a_loop_is_found_with_its_period_and_onset(period: int) -> None:
    copies = 3 + 80 // period
    found = feed(different(40) + different(period, seed=1) * copies)
    last = found[-1]
    assert last is not None
    assert last.loop
    assert last.exact
    assert last.period == period
    assert last.start_step == 40
    assert last.onset_step == 40 + period
    assert last.copies == pytest.approx(copies)


@pytest.mark.parametrize("period", [9, 20, 64, 200])
def test_both_levels_are_told_at_the_token_that_makes_them(period: int) -> None:
    found = feed(different(40) + different(period, seed=1) * 5)
    second_copy, third_copy = 40 + period, 40 + 2 * period
    # The first gram that recurs ends with the copy's 4th token.
    assert first(found, loop=False) == second_copy + 3 + DEFAULT.repetition_recurring - 1
    assert first(found, loop=True) == third_copy + 3 + DEFAULT.loop_recurring - 1


def test_copies_of_a_single_token_have_to_span_the_length_of_a_loop() -> None:
    found = feed([*different(40), *[7] * 60])
    assert first(found, loop=True) == 40 + DEFAULT.loop_tokens - 1
    found = feed([*different(40), *[7] * (DEFAULT.loop_tokens - 1), *different(40, seed=2)])
    assert not any(told and told.loop for told in found)


def test_two_copies_are_a_warning_and_no_loop() -> None:
    unit = different(30)
    found = feed(unit + unit)
    assert found[-1] is not None
    assert not found[-1].loop
    assert (found[-1].onset_step, found[-1].period) == (30, 30)


def test_a_period_above_the_limit_is_not_seen() -> None:
    assert not any(feed(different(DEFAULT.max_period + 1) * 4))


def test_tokens_that_do_not_repeat_raise_nothing() -> None:
    assert not any(feed(different(3000)))


def test_short_repetition_is_nothing() -> None:
    phrase = different(7, seed=3)
    assert not any(feed([*phrase, *different(40), *phrase[:6], *different(40, seed=1)]))
    assert any(feed([*phrase, *different(40), *phrase, *different(40, seed=1)]))


@pytest.mark.parametrize("change", ["one word", "an inserted line break", "a left-out word"])
def test_a_loop_whose_copies_differ_a_little_is_found(change: str) -> None:
    lead, unit = different(40), different(20, seed=1)
    tokens = list(lead)
    for copy in range(6):
        altered = list(unit)
        if copy in (1, 2, 5):
            if change == "one word":
                altered[7] = 200_000 + copy
            elif change == "an inserted line break":
                altered.insert(10, 300_000 + copy)
            else:
                del altered[5 + copy]
        tokens += altered
    found = feed(tokens)
    last = found[-1]
    assert last is not None
    assert last.loop
    assert not last.exact
    assert abs(last.period - 20) <= 1
    assert 55 <= last.onset_step <= 70, "about where the second copy began"
    assert last.copies > 4
    assert first(found, loop=True) < 40 + 5 * 20


def test_a_template_with_new_words_in_each_line_is_no_loop() -> None:
    fresh = iter(different(400, seed=3))
    tokens = [token for _ in range(20) for token in (1, 2, 3, next(fresh), 4, 5, next(fresh), next(fresh), 6)]
    assert not any(told and told.loop for told in feed(tokens))


@pytest.mark.parametrize(("values", "constant"), [(1, 8), (1, 24), (1, 60), (2, 24), (2, 60), (3, 30), (5, 60)])
def test_records_whose_values_change_are_no_loop(values: int, constant: int) -> None:
    """Though most of each record recurs: what stands between the values is the same."""
    fresh = iter(different(2000, seed=3))
    parts = np.array_split(different(constant, seed=4), values)
    record = [token for part in parts for token in (*part.tolist(), None)]
    tokens = [next(fresh) if token is None else token for _ in range(1 + 500 // len(record)) for token in record]
    assert sum(told is not None for told in feed(tokens)) > 100, "they recur"
    assert not any(told and told.loop for told in feed(tokens))


@pytest.mark.parametrize("few", [2, 3])
def test_values_that_recur_in_each_copy_are_a_loops(few: int) -> None:
    """The same records in turn: what comes next is known."""
    unit = [token for record in range(few) for token in (*different(12, seed=4), 200_000 + record, 7, 300_000 + record)]
    last = feed(unit * 8)[-1]
    assert last is not None
    assert last.loop
    assert last.exact
    assert last.period == len(unit)


def test_an_exact_repetition_names_the_tokens_that_are_alike() -> None:
    """After copies with changes: the numbers of the last ones, which are alike."""
    unit = different(20, seed=1)
    changed = [*unit[:7], 200_000, *unit[8:]]
    tokens = different(40) + unit + changed + unit * 4
    last = feed(tokens)[-1]
    assert last is not None
    assert last.exact
    numbers = last.evidence()
    begin = int(numbers["alike_step"])
    assert begin > numbers["onset_step"]
    assert tokens[begin:] == tokens[begin - last.period : -last.period]
    assert numbers["alike_copies"] == pytest.approx((len(tokens) - begin) / last.period + 1, abs=0.01)


def test_a_loop_that_was_left_is_over() -> None:
    found = feed(different(9) * 8 + [token + 200_000 for token in different(30, seed=2)])
    assert any(told and told.loop for told in found)
    assert found[-1] is None


@pytest.mark.parametrize("tokens", [different(5000), different(300) * 20, [7] * 5000])
def test_state_is_bounded(tokens: list[int]) -> None:
    detector = RepetitionDetector()
    for token in tokens:
        detector.update(token)
        assert len(detector._seen) <= DEFAULT.max_period
    assert len(detector._ngrams) == DEFAULT.max_period


def test_what_is_told_depends_on_which_tokens_are_equal_and_on_nothing_else() -> None:
    tokens = np.random.default_rng(4).integers(0, 3, 300)
    renamed = np.array([70_000, 5, 151_000])[tokens]
    assert feed(tokens.tolist()) == feed(renamed.tolist())


@pytest.mark.parametrize("values", [2, 3, 6])
@pytest.mark.parametrize("constant", [1, 2])
def test_values_out_of_a_very_small_set_are_no_loop(values: int, constant: int) -> None:
    """A matrix of 0 and 1, yes and no, dice: all groups of tokens recur by chance."""
    draw = np.random.default_rng(values * 10 + constant)
    record = [100 + at for at in range(constant)]
    tokens = [token for _ in range(100) for token in (int(draw.integers(values)), int(draw.integers(values)), *record)]
    told = [each is not None and each.loop for each in feed(tokens)]
    assert sum(told) < 0.3 * len(told), "but where records happen to be alike"


@pytest.mark.parametrize("constant", [15, 18, 21])
def test_a_numbered_loop_is_found(constant: int) -> None:
    """ "12. Learn from your mistakes.": nothing changes but a counter, whose digits are known."""
    rest = [100 + at for at in range(constant)]
    tokens = [token for number in range(10, 60) for token in (*map(int, str(number)), *rest)]
    told = [each is not None and each.loop for each in feed(tokens)]
    assert any(told[: 20 * (constant + 2)])
    assert told[-1]


def slow(tokens: list[int]) -> tuple[list[int], int, int] | None:
    """Return (third copies in the window of each step, onset, last token that recurs) at the stream's end, judged from
    the whole stream."""
    size, stood = DEFAULT.gram, [0] * len(tokens)
    for end in range(size - 1, len(tokens)):
        gram = tokens[end - size + 1 : end + 1]
        back = range(end - 1, max(size - 2, end - DEFAULT.max_period - 1), -1)
        before = next((other for other in back if tokens[other - size + 1 : other + 1] == gram), None)
        stood[end] = 0 if before is None else stood[before] + 1
    recurs = [count > 0 for count in stood]
    if sum(recurs[-DEFAULT.repetition_window :]) < DEFAULT.repetition_recurring:
        return None
    last = begin = max(step for step, holds in enumerate(recurs) if holds)
    for step in range(last, -1, -1):
        if recurs[step]:
            begin = step
        elif begin - step >= DEFAULT.repetition_window:
            break
    thirds = [sum(n > 1 for n in stood[max(0, end - DEFAULT.loop_window) : end]) for end in range(1, len(tokens) + 1)]
    return thirds, begin - size + 1, last


def is_new(tokens: list[int]) -> list[bool]:
    """Return which tokens no group that recurs has."""
    size, new = DEFAULT.gram, [True] * len(tokens)
    for end in range(size - 1, len(tokens)):
        gram = tokens[end - size + 1 : end + 1]
        if any(tokens[at - size + 1 : at + 1] == gram for at in range(max(size - 1, end - DEFAULT.max_period), end)):
            new[end - size + 1 : end + 1] = [False] * size
    return new


def two_copies(period: int) -> int:
    """Return how many tokens the last two copies count as."""
    least, most = DEFAULT.loop_copies
    return min(max(2 * period, least), most)


def little_new(tokens: list[int], period: int) -> bool:
    """Return whether the last two copies have little new and a whole copy without."""
    window = two_copies(period)
    new = ([True] * window + is_new(tokens))[-window:]
    row = longest = 0
    for each in new:
        row = 0 if each else row + 1
        longest = max(longest, row)
    return sum(new) <= DEFAULT.unlike_new * window and longest >= min(max(period, DEFAULT.alike_tokens), window)


def one_change(tokens: list[int], period: int) -> bool:
    """Return whether nothing is new in the last two copies, and each has changed in one place at most."""
    window = min(two_copies(period), len(tokens) - period)
    if window <= 0 or any(is_new(tokens)[-window:]):
        return False
    changed = [at for at in range(len(tokens) - window, len(tokens)) if tokens[at] != tokens[at - period]]
    places = sum(at - 1 not in changed for at in changed)
    return places * max(period, DEFAULT.change_distance) <= window


def alike(tokens: list[int], period: int) -> int:
    """Return how many of the last tokens are those that stood a period before."""
    count = 0
    while count + period < len(tokens) and tokens[-1 - count] == tokens[-1 - count - period]:
        count += 1
    return count


@st.composite
def nearly_alike(draw: st.DrawFn) -> list[int]:
    """Copies of many different tokens, in which some are changed."""
    period = draw(st.integers(10, 30))
    tokens = list(range(period)) * draw(st.integers(3, 5))
    for at in draw(st.lists(st.integers(0, len(tokens) - 1), max_size=8)):
        tokens[at] = draw(st.integers(0, period))
    return tokens


@given(st.lists(st.integers(0, 3), max_size=120) | st.lists(st.integers(0, 1), max_size=60) | nearly_alike())
@settings(max_examples=200, deadline=None)
def test_online_equals_looking_back(tokens: list[int]) -> None:
    for end, told in enumerate(feed(tokens), start=1):
        expected = slow(tokens[:end])
        assert (told is None) == (expected is None)
        if told is not None and expected is not None:
            thirds, onset, last = expected
            assert told.onset_step == onset
            spans = last - onset + 1 + told.period >= DEFAULT.loop_tokens
            most = max(thirds[-DEFAULT.loop_pause :])
            lately = most >= DEFAULT.loop_recurring
            assert not told.loop or (spans and lately)
            near = most >= DEFAULT.unlike_recurring and little_new(tokens[:end], told.period)
            near |= one_change(tokens[:end], told.period)
            near &= thirds[-1] >= DEFAULT.loop_recurring
            near &= len(set(tokens[max(0, end - two_copies(told.period)) : end])) >= DEFAULT.different_tokens
            if spans and near and not told.exact:
                assert told.loop
            if told.exact:
                assert told.alike_step <= end - max(told.period, DEFAULT.loop_window)
                assert alike(tokens[:end], told.period) >= end - told.alike_step
                assert told.loop == (spans and lately)
