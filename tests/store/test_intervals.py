"""Intervals against published numbers, and against what they promise: to hold the truth 95 times in 100."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.store.intervals import (
    paired_fraction,
    paired_t,
    student_t,
    two_fractions,
    welch,
    within,
)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(3, 3.182446), (4, 2.776445), (5, 2.570582), (10, 2.228139), (30, 2.042272), (1e9, 1.959964)],
)
def test_quantiles_are_those_of_the_tables(freedom: float, quantile: float) -> None:
    assert student_t(freedom) == pytest.approx(quantile, rel=2e-3)


def test_students_sleep_data() -> None:
    """Student 1908: hours of sleep gained by ten patients with two drugs; R's t.test gives these ends."""
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    assert paired_t(first - second) == pytest.approx((-2.4598858, -0.7001142), abs=1e-3)
    assert welch(first, second) == pytest.approx((-3.3654832, 0.2054832), abs=1e-3)


def test_shares_by_hand() -> None:
    """Of 20 pairs 5 speak for the first and 1 for the second: (6 - 2) / 22, and so on."""
    differences = np.array([1.0] * 5 + [-1.0] + [0.0] * 14)
    p, q = 6 / 22, 2 / 22
    reach = 1.959964 * np.sqrt((p + q - (p - q) ** 2) / 22)
    assert paired_fraction(differences) == pytest.approx((p - q - reach, p - q + reach))
    a, b = np.array([1.0] * 7 + [0.0] * 3), np.array([1.0] * 2 + [0.0] * 8)
    p, q = 8 / 12, 3 / 12
    reach = 1.959964 * np.sqrt(p * (1 - p) / 12 + q * (1 - q) / 12)
    assert two_fractions(a, b) == pytest.approx((p - q - reach, p - q + reach))


def test_no_spread_is_no_certainty() -> None:
    assert paired_t(np.full(10, 0.1) * 3) is None
    assert welch(np.full(5, 0.3), np.full(6, 0.1)) is None
    low, high = paired_fraction(np.zeros(20))
    assert low < -0.05
    assert high > 0.05


@pytest.mark.parametrize("pairs", [4, 8, 30])
def test_they_hold_the_truth_as_often_as_they_say(pairs: int) -> None:
    draws = 2000
    chance = np.random.default_rng(5)
    skewed = chance.exponential(size=(draws, pairs)) - chance.exponential(size=(draws, pairs))
    other = 2 * chance.normal(size=(draws, pairs + 3))
    truth = 0.3
    ends = {
        "paired_t": ([paired_t(row + truth) for row in skewed], truth),
        "welch": ([welch(row + truth, base) for row, base in zip(skewed, other, strict=True)], truth),
    }
    ones = (chance.random((draws, pairs)) < 0.5).astype(float)
    rare = (chance.random((draws, pairs)) < 0.1).astype(float)
    ends["paired_fraction"] = ([paired_fraction(row) for row in ones - rare], 0.4)
    ends["two_fractions"] = ([two_fractions(a, b) for a, b in zip(ones, rare, strict=True)], 0.4)
    for name, (found, true) in ends.items():
        held = np.mean([each is not None and each[0] <= true <= each[1] for each in found])
        assert 0.925 <= held <= 1.0, (name, held)
        assert held < 0.995 or pairs < 8, (name, held)


@pytest.mark.parametrize(("pairs", "least", "most"), [(10, 0.65, 0.77), (30, 0.90, 0.96)])
def test_over_few_pairs_what_is_rare_has_not_shown(pairs: int, least: float, most: float) -> None:
    """A risk: low, and in one run of ten near 1, as a flag makes it. It is why few pairs are called rough."""
    draws, truth = 2000, 0.085
    chance = np.random.default_rng(0)
    base, other = chance.uniform(0, 0.2, (2, draws, pairs))
    leaping = np.where(chance.random((draws, pairs)) < 0.1, 0.95, base)
    ends = [paired_t(row) for row in leaping - other]
    held = np.mean([each is not None and each[0] <= truth <= each[1] for each in ends])
    assert least < held < most


def test_nothing_is_beyond_the_bounds() -> None:
    assert within((0.01, 1.06), 1) == (0.01, 1.0)
    assert within((-3.0, -2.5), 2.75) == (-2.75, -2.5)
    assert within((-3.0, 5.0), float("inf")) == (-3.0, 5.0)


values = st.lists(st.floats(0, 1), min_size=4, max_size=30)


@given(values, values)
def test_ends_are_in_order_and_of_shares_within_bounds(a: list[float], b: list[float]) -> None:
    first, second = np.array(a), np.array(b)
    for ends in (welch(first, second), paired_t(first)):
        assert ends is None or ends[0] < ends[1]
    for low, high in (two_fractions(first, second), paired_fraction(first)):
        assert -1 <= low < high <= 1
    swapped = two_fractions(second, first)
    assert two_fractions(first, second) == pytest.approx((-swapped[1], -swapped[0]))
