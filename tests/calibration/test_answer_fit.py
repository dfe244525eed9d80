"""A model's own answer risk: the fit, what is said of it, and the file that it is kept in."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.assessment.answer_features import COLUMNS, features_of
from opentelemetry_instrumentation_corevital.assessment.answer_risk import answer_risk
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped
from opentelemetry_instrumentation_corevital.baselines.profile import WITHOUT_ANSWER, ProfileError, read_profile
from opentelemetry_instrumentation_corevital.calibration import fit_profile, write_profile
from opentelemetry_instrumentation_corevital.calibration.answer_fit import (
    METHOD,
    FittedAnswer,
    fit_answer,
    most_tokens_of,
)
from opentelemetry_instrumentation_corevital.calibration.answer_profile import put_answer, with_answer_of
from opentelemetry_instrumentation_corevital.run import ModelInfo, Run
from tests.support.healthy_runs import LAYERS, healthy
from tests.support.labelled_answers import answer


def rows_of(answers: Sequence[tuple[Run, bool]]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rows = [features_of({name: run.columns[name] for name in COLUMNS}) for run, _ in answers]
    features = {name: np.array([row[name] for row in rows]) for name in rows[0]}  # type: ignore[index]
    return features, np.array([wrong for _, wrong in answers]), np.array([run.steps for run, _ in answers])


def fitted(answers: Sequence[tuple[Run, bool]], prompts: Sequence[str] | None = None) -> FittedAnswer:
    features, wrong, tokens = rows_of(answers)
    named = [str(number) for number in range(len(wrong))] if prompts is None else prompts
    return fit_answer(features, wrong, named, tokens, shipped())


ANSWERS = [answer(seed) for seed in range(150)]
LATER = [answer(seed) for seed in range(1000, 1400)]


@pytest.fixture(scope="module")
def own() -> FittedAnswer:
    return fitted(ANSWERS)


def test_it_judges_later_answers_better_and_says_so_beforehand(own: FittedAnswer) -> None:
    """What it says out of fold is what it does on runs that come later, within what 150 runs can tell."""
    features, wrong, _ = rows_of(LATER)
    scores = []
    for model in (shipped(), own.model):
        moved = [[term.moved(float(value)) for value in features[term.feature]] for term in model.terms]
        log_odds = model.intercept + np.sum(moved, axis=0)
        scores.append((_auroc(log_odds, wrong), float(np.mean((1 / (1 + np.exp(-log_odds)) - wrong) ** 2))))
    (auroc_shipped, brier_shipped), (auroc_own, brier_own) = scores
    assert auroc_own > auroc_shipped + 0.02
    assert brier_own < brier_shipped
    assert not own.worse
    assert own.gain[0] > 0
    assert own.own.auroc == pytest.approx(auroc_own, abs=0.05)
    assert own.own.brier == pytest.approx(brier_own, abs=0.05)
    assert own.own.ece < own.shipped.ece


def _auroc(scores: np.ndarray, wrong: np.ndarray) -> float:
    pairs = scores[wrong][:, None] - scores[~wrong][None]
    return float(((pairs > 0) + (pairs == 0) / 2).mean())


def test_it_is_one_model_s_and_says_of_how_many_runs(own: FittedAnswer) -> None:
    model = own.model
    assert (model.method, model.runs, model.models) == (METHOD, 150, 1)
    assert [term.feature for term in model.terms][: len(shipped().terms)] == [t.feature for t in shipped().terms]


def test_the_order_of_the_runs_does_not_count(own: FittedAnswer) -> None:
    again = fitted(ANSWERS[::-1], [str(number) for number in range(150)][::-1])
    assert again.strength == own.strength
    assert again.own.auroc == own.own.auroc
    for one, other in zip(again.model.terms, own.model.terms, strict=True):
        assert one.coefficient == pytest.approx(other.coefficient, rel=1e-4)


def test_labels_that_say_nothing_gain_nothing() -> None:
    """Its probabilities are then all near to the base rate, and no gain is claimed."""
    rng = np.random.default_rng(1)
    found = fitted([(run, bool(rng.random() < 0.5)) for run, _ in ANSWERS])
    assert found.gain[0] < 0 < found.gain[1]
    assert abs(found.own.auroc - 0.5) < 0.1
    assert found.own.ece < 0.15


def test_runs_of_one_prompt_are_left_out_together() -> None:
    """Ten copies of each run, whose copies would tell the answer, say no more than one each."""
    few = ANSWERS[:60]
    once, often = fitted(few), fitted(few * 10, [str(number) for number in range(60)] * 10)
    assert often.own.auroc == pytest.approx(once.own.auroc, abs=0.05)


@pytest.mark.parametrize(("right", "wrong", "prompts"), [(19, 60, 79), (60, 19, 79), (30, 30, 4)])
def test_too_little_is_refused(right: int, wrong: int, prompts: int) -> None:
    of_each = [each for each in ANSWERS + LATER if not each[1]][:right]
    of_each += [each for each in ANSWERS + LATER if each[1]][:wrong]
    with pytest.raises(ValueError, match=f"{right} correct and {wrong} wrong|answer 4 prompts"):
        fitted(of_each, [str(number % prompts) for number in range(len(of_each))])


def test_support_is_that_of_the_shipped_one_and_of_the_labelled_runs(own: FittedAnswer) -> None:
    features, _, _ = rows_of(ANSWERS)
    of_shipped = {term.feature: term for term in shipped().terms}
    for term in own.model.terms:
        known = of_shipped.get(term.feature)
        low, high = features[term.feature].min(), features[term.feature].max()
        assert term.lowest == pytest.approx(min(low, low - term.scale if known is None else known.lowest), abs=1e-5)
        assert term.highest == pytest.approx(max(high, high + term.scale if known is None else known.highest), abs=1e-5)
    judged = answer_risk({name: float(values[3]) for name, values in features.items()}, 7, own.model)
    assert judged.support
    assert judged.method == METHOD
    assert answer_risk(dict.fromkeys(features, 1000.0), 7, own.model).probability is None


def test_longer_answers_count_where_enough_of_each_outcome_are() -> None:
    """20 of each beyond the shipped limit move it to what 99 % stay within; fewer do not, and are left out."""
    limit = shipped().most_tokens
    tokens = np.array([5] * 100 + [limit + 60] * 45)
    wrong = np.array([True, False] * 72 + [True])
    assert most_tokens_of(tokens, wrong, limit) == limit + 60
    assert most_tokens_of(tokens, np.arange(145) < 119, limit) == limit, "19 of them are wrong"
    assert most_tokens_of(tokens * 20, wrong, limit) == 512
    assert most_tokens_of(np.minimum(tokens, limit), wrong, limit) == limit
    with_long = [*ANSWERS, *(answer(seed, steps=limit + 9) for seed in range(2000, 2012))]
    found = fitted(with_long)
    assert found.model.most_tokens == limit
    assert found.model.runs == found.used.sum() == 150
    longer = fitted([*ANSWERS, *(answer(seed, steps=limit + 9) for seed in range(2000, 2080))])
    assert (longer.model.most_tokens, longer.model.runs) == (limit + 9, 230)


MODEL = ModelInfo("org/model", "TinyForCausalLM", layer_count=LAYERS, vocabulary_size=1000)


def test_a_profile_keeps_all_else(own: FittedAnswer, tmp_path: Path) -> None:
    profile = fit_profile([healthy(seed) for seed in range(40)])
    file = tmp_path / "p.json"
    write_profile(profile, file)
    assert '"version":2' in file.read_text("utf-8"), "an earlier CoreVital reads one without an answer risk"
    put_answer(file, MODEL, own.model, 900)
    found = read_profile(file)
    assert found.answer == own.model
    assert not found.only_answer
    assert found.model_copy(update={"answer": None, "version": WITHOUT_ANSWER}) == profile
    assert '"version":3' in file.read_text("utf-8")
    anew = fit_profile([healthy(seed) for seed in range(50)])
    assert with_answer_of(file, anew) == anew.model_copy(update={"answer": own.model, "version": 3})
    assert with_answer_of(tmp_path / "none.json", anew) == anew
    other = anew.model_copy(update={"model": anew.model.model_copy(update={"quantization": "int8"})})
    assert with_answer_of(file, other) == other, "labels of another model say nothing of it"


def test_one_of_another_model_is_left_as_it_is(own: FittedAnswer, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    put_answer(file, MODEL, own.model, 900)
    before = file.read_bytes()
    for another in (replace(MODEL, quantization="bitsandbytes-8bit"), replace(MODEL, layer_count=3)):
        with pytest.raises(ProfileError, match="was made with another model than the labelled runs"):
            put_answer(file, another, own.model, 900)
    assert file.read_bytes() == before
    file.write_text("{", "utf-8")
    with pytest.raises(ProfileError, match=r"p\.json"):
        put_answer(file, MODEL, own.model, 900)
    assert file.read_text("utf-8") == "{"
