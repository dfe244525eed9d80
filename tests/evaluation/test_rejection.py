"""Risk and coverage against slow definitions: every order of equal scores counts as much."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc
from opentelemetry_instrumentation_corevital.evaluation.rejection import areas, rejection, risk_coverage
from opentelemetry_instrumentation_corevital.evaluation.score_blocks import ScoreBlocks

RUNS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40)


def columns(runs: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in runs], float), np.array([wrong for _, wrong in runs], bool)


def plain_aurc(ordered: list[bool]) -> float:
    """The area of answers that are accepted in this order."""
    return float(np.mean([sum(ordered[:k]) / k for k in range(1, len(ordered) + 1)]))


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_aurc_is_the_mean_over_all_orders_of_equal_scores(runs: list[tuple[int, bool]]) -> None:
    scores, wrong = columns(runs)
    orders = [each for each in permutations(range(len(runs))) if all(np.diff(scores[list(each)]) >= 0)]
    expected = np.mean([plain_aurc([bool(wrong[at]) for at in each]) for each in orders])
    assert areas(scores, wrong)["aurc"] == pytest.approx(expected, abs=1e-12)


@given(RUNS)
@settings(max_examples=60, deadline=None)
def test_the_oracle_is_the_best_and_a_score_that_knows_nothing_is_a_random_order(runs: list[tuple[int, bool]]) -> None:
    scores, wrong = columns(runs)
    assume(wrong.any() and not wrong.all())
    perfect, none, found = (areas(each, wrong) for each in (wrong.astype(float), np.zeros(len(wrong)), scores))
    assert perfect["e_aurc"] == pytest.approx(0, abs=1e-12)
    assert perfect["prr"] == pytest.approx(1, abs=1e-12)
    assert none["aurc"] == pytest.approx(wrong.mean(), abs=1e-12)
    assert none["prr"] == pytest.approx(0, abs=1e-12)
    assert found["e_aurc"] >= -1e-12
    assert found["prr"] <= 1 + 1e-12


@given(RUNS)
@settings(max_examples=60, deadline=None)
def test_prr_is_the_ratio_of_areas_between_rejection_curves(runs: list[tuple[int, bool]]) -> None:
    """As lm-polygraph has it: mean quality of what remains, over how many are rejected, without ties."""
    scores, wrong = columns(runs)
    scores = scores + np.linspace(0, 0.5, len(scores), endpoint=False)
    assume(wrong.any() and not wrong.all())

    def area(order: np.ndarray) -> float:
        quality = 1.0 - wrong[order]
        return float((np.cumsum(quality) / np.arange(1, len(quality) + 1)).mean())

    random = 1.0 - wrong.mean()
    best = area(np.argsort(wrong, kind="stable"))
    expected = (area(np.argsort(scores)) - random) / (best - random)
    assert areas(scores, wrong)["prr"] == pytest.approx(expected, abs=1e-9)


@given(RUNS)
@settings(max_examples=60, deadline=None)
def test_where_rejected_answers_count_as_right_the_ratio_is_that_of_auroc(runs: list[tuple[int, bool]]) -> None:
    """What the module says of the other rejection curve: errors that remain, of all answers."""
    scores, wrong = columns(runs)
    scores = scores + np.linspace(0, 0.5, len(scores), endpoint=False)
    assume(wrong.any() and not wrong.all())
    n, errors = len(wrong), int(wrong.sum())

    def area(order: np.ndarray) -> float:  # trapezoids between k = 0 and n accepted
        remaining = np.concatenate([[0], np.cumsum(wrong[order])])
        return float((remaining[1:] + remaining[:-1]).sum() / 2)

    random, best = errors * n / 2, area(np.argsort(wrong, kind="stable"))
    ratio = (random - area(np.argsort(scores))) / (random - best)
    assert ratio == pytest.approx(2 * auroc(scores, wrong) - 1, abs=1e-9)


@given(RUNS, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_weight_is_a_run_that_stands_so_often(runs: list[tuple[int, bool]], seed: int) -> None:
    scores, wrong = columns(runs)
    weights = np.random.default_rng(seed).integers(0, 3, len(runs))
    weights[0] += 1
    found = rejection(ScoreBlocks.of(scores, wrong, weights[None].astype(float)))
    expected = areas(np.repeat(scores, weights), np.repeat(wrong, weights))
    assert {name: float(getattr(found, name)[0]) for name in expected} == pytest.approx(expected, abs=1e-9, nan_ok=True)


@given(RUNS)
@settings(max_examples=60, deadline=None)
def test_the_curve_ends_at_the_base_rate_and_has_the_area(runs: list[tuple[int, bool]]) -> None:
    scores, wrong = columns(runs)
    points = risk_coverage(scores, wrong)
    assert points[-1] == pytest.approx([1, wrong.mean()])
    assert points[:, 1].mean() == pytest.approx(areas(scores, wrong)["aurc"], abs=1e-12)
    few = risk_coverage(scores, wrong, most=5)
    assert len(few) <= 5
    assert {tuple(each) for each in few} <= {tuple(each) for each in points}
