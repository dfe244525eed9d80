"""Pairs of wrong and right answers, one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.evaluation.ranking import (
    auroc,
    concordance,
    pairs,
    same_length_auroc,
)
from opentelemetry_instrumentation_corevital.evaluation.score_blocks import ScoreBlocks

RUNS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 3)), min_size=1, max_size=40)


def columns(runs: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, wrong, tokens = (np.array(each) for each in zip(*runs, strict=True))
    return scores.astype(float), wrong.astype(bool), tokens.astype(np.int64)


@given(RUNS)
@settings(max_examples=80, deadline=None)
def test_pairs_of_equally_many_tokens_one_by_one(runs: list[tuple[int, bool, int]]) -> None:
    scores, wrong, tokens = columns(runs)
    bad, good = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    won = [(scores[a] > scores[b]) + (scores[a] == scores[b]) / 2 for a in bad for b in good if tokens[a] == tokens[b]]
    expected = float(np.mean(won)) if won else float("nan")
    assert same_length_auroc(scores, wrong, tokens) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert pairs(ScoreBlocks.of(scores, wrong, strata=tokens))[0] == len(won)


@given(RUNS)
@settings(max_examples=80, deadline=None)
def test_a_score_that_is_the_length_is_chance_at_one_length(runs: list[tuple[int, bool, int]]) -> None:
    _, wrong, tokens = columns(runs)
    found = same_length_auroc(np.exp(tokens.astype(float)), wrong, tokens)
    assert np.isnan(found) or found == 0.5


@given(RUNS)
@settings(max_examples=80, deadline=None)
def test_only_the_order_counts_and_its_reverse_is_the_rest(runs: list[tuple[int, bool, int]]) -> None:
    scores, wrong, _ = columns(runs)
    found = auroc(scores, wrong)
    assert auroc(np.exp(scores), wrong) == pytest.approx(found, abs=1e-12, nan_ok=True)
    assert auroc(-scores, wrong) == pytest.approx(1 - found, abs=1e-12, nan_ok=True)
    assert np.isnan(found) == (wrong.all() or not wrong.any())


def test_what_is_no_score_is_refused() -> None:
    truths = np.array([True, False])
    for scores in (np.array([]), np.array([0.1, np.nan]), np.array([np.inf, 0.0])):
        with pytest.raises(ValueError, match="finite"):
            ScoreBlocks.of(scores, truths[: len(scores)])


def test_a_draw_without_an_outcome_has_none() -> None:
    weights = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    found = concordance(ScoreBlocks.of(np.array([1.0, 0.5, 2.0]), np.array([True, False, True]), weights))
    assert np.isnan(found).tolist() == [True, False, True]
