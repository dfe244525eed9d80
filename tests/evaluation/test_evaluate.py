"""Groups, their mean and their intervals: prompts are drawn, and runs of one prompt come and go together."""

import time
from dataclasses import replace

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.evaluation.evaluate import FIGURES, evaluate
from opentelemetry_instrumentation_corevital.evaluation.labelled_answers import (
    ANSWER,
    BASE_RATE,
    BASELINES,
    FEWEST_OF_EACH,
    LENGTH,
    RISK,
    Answers,
)
from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc
from opentelemetry_instrumentation_corevital.evaluation.reliability import calibration_error
from opentelemetry_instrumentation_corevital.evaluation.resampling import figure, numbered, prompt_weights


def group(n: int = 120, *, model: str = "org/a", task: str = "one", seed: int = 0, runs_per_prompt: int = 1) -> Answers:
    rng = np.random.default_rng(seed)
    risk = rng.random(n)
    tokens = rng.integers(1, 12, n)
    scores = {ANSWER: risk, RISK: rng.random(n)}
    scores |= {name: risk + rng.normal(0, 0.4, n) for name in BASELINES}
    scores[LENGTH] = tokens.astype(float)
    return Answers(
        model=model,
        task=task,
        wrong=rng.random(n) < risk,
        prompts=tuple(f"{task} {run // runs_per_prompt}" for run in range(n)),
        tokens=tokens,
        scores=scores,
        half={name: each for name, each in scores.items() if name != RISK},
    )


def test_each_group_has_its_own_figures_and_the_mean_is_over_groups() -> None:
    parts = [group(seed=1), group(300, model="org/b", task="two", seed=2)]
    found = evaluate(parts, draws=50)
    for each, known in zip(parts, found.groups, strict=True):
        told = known.scores[ANSWER]
        assert told["auroc"].value == pytest.approx(auroc(each.scores[ANSWER], each.wrong))
        assert told["ece"].value == pytest.approx(calibration_error(each.scores[ANSWER], each.wrong))
        assert (known.runs, known.wrong, known.groups) == (len(each.wrong), each.wrong.sum(), 1)
        assert set(told) == set(FIGURES) - {"answer_ahead"}
        assert set(known.scores[LENGTH]) == set(FIGURES) - {"ece", "brier", "brier_skill"}
    assert found.mean is not None
    for score, figures in found.mean.scores.items():
        for name, known in figures.items():
            values = [each.scores[score][name].value for each in found.groups]
            assert known.value == pytest.approx(np.mean(values)), "not pooled"


def test_a_group_with_few_of_an_outcome_is_listed_and_not_in_the_mean() -> None:
    few = group(30, task="few")
    few = replace(few, wrong=np.arange(30) < FEWEST_OF_EACH - 1)
    found = evaluate([group(), few], draws=50)
    assert [(each.task, each.groups) for each in found.groups] == [("few", 0), ("one", 1)]
    assert found.mean is not None
    assert found.mean.groups == 1
    assert found.mean.scores[ANSWER] == found.groups[1].scores[ANSWER]
    assert evaluate([few], draws=5).mean is None


def test_a_group_without_an_answer_risk_does_not_hide_that_of_others() -> None:
    without = group(task="long")
    without = replace(without, scores={name: each for name, each in without.scores.items() if name != ANSWER})
    found = evaluate([group(), without], draws=20)
    assert found.mean is not None
    assert found.mean.groups == 1
    assert ANSWER in found.mean.scores
    assert found.models[0].runs == 120, "pooled, too"
    alone = evaluate([without], draws=20)
    assert alone.mean is not None
    assert LENGTH in alone.mean.scores
    assert alone.groups[0].bins == ()


def test_the_base_rate_is_known_by_definition() -> None:
    found = evaluate([group()], draws=50).groups[0].scores[BASE_RATE]
    assert (found["auroc"].value, found["prr"].value, found["ece"].value) == (0.5, 0, 0)
    assert found["brier_skill"].low == found["brier_skill"].high == 0


def test_a_seed_gives_the_same_and_another_one_other_intervals() -> None:
    first, again, other = (evaluate([group()], draws=50, seed=seed).groups[0].scores for seed in (3, 3, 4))
    assert first == again
    assert first[ANSWER]["auroc"].low != other[ANSWER]["auroc"].low
    assert first[ANSWER]["auroc"].value == other[ANSWER]["auroc"].value


def test_runs_that_share_a_prompt_count_as_one_in_the_interval() -> None:
    base = group(60)
    copies = Answers(
        model="org/a",
        task="one",
        wrong=np.repeat(base.wrong, 8),
        prompts=tuple(np.repeat(base.prompts, 8).tolist()),
        tokens=np.repeat(base.tokens, 8),
        scores={name: np.repeat(each, 8) for name, each in base.scores.items()},
        half={},
    )
    alone, eight = (evaluate([each], draws=300).groups[0].scores[ANSWER]["auroc"] for each in (base, copies))
    apart = replace(copies, prompts=tuple(str(run) for run in range(480)))
    as_if = evaluate([apart], draws=300).groups[0].scores[ANSWER]["auroc"]
    assert eight.value == pytest.approx(alone.value)
    widths = [each.high - each.low for each in (alone, eight, as_if) if each.high is not None and each.low is not None]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[2] < 0.6 * widths[1]


def test_models_that_answer_the_same_prompts_are_drawn_together() -> None:
    one = group(100, model="org/a")
    same = replace(one, model="org/b")
    other = replace(one, model="org/b", prompts=tuple(f"else {run}" for run in range(100)))
    means = [evaluate([one, each], draws=300).mean for each in (same, other)]
    widths = []
    for each in means:
        assert each is not None
        known = each.scores[ANSWER]["auroc"]
        assert known.low is not None
        assert known.high is not None
        widths.append(known.high - known.low)
    assert widths[1] < 0.85 * widths[0]


def test_half_is_of_the_runs_whose_half_is_known() -> None:
    whole = group()
    known = np.arange(120) % 2 == 0
    half = {name: np.where(known, each, np.nan) for name, each in whole.half.items()}
    told = evaluate([replace(whole, half=half)], draws=20).groups[0].scores
    assert told[ANSWER]["auroc_half"].value == pytest.approx(auroc(whole.scores[ANSWER][known], whole.wrong[known]))
    few = {name: np.where(np.arange(120) < 3, each, np.nan) for name, each in whole.half.items()}
    assert "auroc_half" not in evaluate([replace(whole, half=few)], draws=20).groups[0].scores[ANSWER]


def test_an_interval_needs_draws_that_have_the_figure() -> None:
    drawn = np.array([0.1, 0.2, np.nan, np.nan, np.nan])
    assert figure(0.2, drawn) is not None
    assert (figure(0.2, drawn).low, figure(0.2, drawn).high) == (None, None)  # type: ignore[union-attr]
    assert figure(float("nan"), drawn) is None
    centred = figure(0.1, np.linspace(0.2, 0.4, 101), centred=True)
    assert centred is not None
    assert centred.low == pytest.approx(0.005)
    assert centred.high == pytest.approx(0.195)


def test_a_draw_takes_as_many_prompts_as_there_are() -> None:
    prompts = numbered(["b", "a", "b", "c"])
    assert prompts.tolist() == [1, 0, 1, 2]
    weights = np.concatenate(list(prompt_weights(prompts, 500, seed=0)))
    assert weights.shape == (500, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    assert weights.mean(0) == pytest.approx(1, abs=0.15)


@pytest.mark.acceptance
def test_two_thousand_runs_take_seconds() -> None:
    parts = [group(200, model=f"org/{place % 2}", task=f"task {place}", seed=place) for place in range(10)]
    start = time.process_time()
    evaluate(parts)
    assert time.process_time() - start < 60
