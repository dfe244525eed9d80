"""Figures that scikit-learn has, too, are the same to 1e-12, with ties and weights."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from opentelemetry_instrumentation_corevital.evaluation.evaluate import evaluate
from opentelemetry_instrumentation_corevital.evaluation.labelled_answers import ANSWER, Answers
from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc, concordance
from opentelemetry_instrumentation_corevital.evaluation.reliability import (
    BINS,
    brier,
    brier_skill,
    calibration_error,
    calibration_errors,
    reliability,
)
from opentelemetry_instrumentation_corevital.evaluation.score_blocks import ScoreBlocks

CLOSE = 1e-12
SEEDS = range(40)


def sample(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, of which many are equal, and outcomes."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 300))
    forecast = np.round(rng.random(n), int(rng.integers(1, 4)))
    wrong = rng.random(n) < forecast
    wrong[:2] = True, False
    return forecast, wrong


@pytest.mark.parametrize("seed", SEEDS)
def test_auroc(seed: int) -> None:
    forecast, wrong = sample(seed)
    assert auroc(forecast, wrong) == pytest.approx(roc_auc_score(wrong, forecast), abs=CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_count_as_those_of_scikit_learn(seed: int) -> None:
    forecast, wrong = sample(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(wrong))).astype(float)
    weights[:, :2] += 1
    found = concordance(ScoreBlocks.of(forecast, wrong, weights))
    assert found == pytest.approx([roc_auc_score(wrong, forecast, sample_weight=each) for each in weights], abs=CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_reliability_and_calibration_error(seed: int) -> None:
    forecast, wrong = sample(seed)
    fractions, means = calibration_curve(wrong, forecast, n_bins=BINS, strategy="quantile")
    bins = reliability(forecast, wrong)
    assert [each.wrong for each in bins] == pytest.approx(fractions, abs=CLOSE)
    assert [each.forecast for each in bins] == pytest.approx(means, abs=CLOSE)
    assert sum(each.runs for each in bins) == len(wrong)
    expected = sum(each.runs * abs(each.forecast - each.wrong) for each in bins) / len(wrong)
    assert calibration_error(forecast, wrong) == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_draw_has_bins_of_its_own(seed: int) -> None:
    forecast, wrong = sample(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(wrong)))
    weights[:, :1] += 1
    found = calibration_errors(forecast, wrong, weights.astype(float))
    repeated = [calibration_error(np.repeat(forecast, each), np.repeat(wrong, each)) for each in weights]
    assert found == pytest.approx(repeated, abs=CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_brier_score_and_skill(seed: int) -> None:
    forecast, wrong = sample(seed)
    score, base = brier_score_loss(wrong, forecast), brier_score_loss(wrong, np.full(len(wrong), wrong.mean()))
    assert brier(forecast, wrong) == pytest.approx(score, abs=CLOSE)
    assert brier_skill(forecast, wrong) == pytest.approx(1 - score / base, abs=1e-9)


def test_the_mean_over_groups_is_the_average_over_labels() -> None:
    rng = np.random.default_rng(1)
    scores = np.round(rng.random((60, 4)), 1)
    wrong = rng.random((60, 4)) < scores
    groups = [
        Answers(
            model="m",
            task=str(task),
            wrong=wrong[:, task],
            prompts=tuple(f"{task}-{run}" for run in range(60)),
            tokens=np.full(60, 3),
            scores={ANSWER: scores[:, task]},
            half={},
        )
        for task in range(4)
    ]
    mean = evaluate(groups, draws=5).mean
    assert mean is not None
    assert mean.groups == 4
    expected = roc_auc_score(wrong, scores, average="macro")
    assert mean.scores[ANSWER]["auroc"].value == pytest.approx(expected, abs=CLOSE)
