"""The answer risk of a run that goes on is that of the run cut off at the step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.assessment.answer_features import NAMES, answer_features
from opentelemetry_instrumentation_corevital.assessment.answer_risk import answer_risk
from opentelemetry_instrumentation_corevital.assessment.answer_so_far import AnswerSoFar
from opentelemetry_instrumentation_corevital.assessment.early_warning import judge_early_warning
from opentelemetry_instrumentation_corevital.baselines.answer_model import AnswerModel, Term, shipped
from tests.support.made_runs import make_run

BITS, PROBABILITY = st.floats(0, 17), st.floats(0, 1)
STEPS = st.lists(st.tuples(BITS, BITS, PROBABILITY, PROBABILITY), min_size=1, max_size=14)
ORDER = ("surprisal", "entropy", "margin", "top1_prob")

EVERY = AnswerModel(
    method="every feature",
    intercept=0.1,
    terms=tuple(
        Term(feature=name, mean=0.5, scale=2.0, coefficient=(-1) ** place * 0.7, lowest=-99, highest=99)
        for place, name in enumerate(NAMES)
    ),
    most_tokens=10,
    runs=1,
    models=1,
)


def run_of(steps: list[tuple[float, ...]]) -> Run:
    columns = np.array(steps, np.float64).T
    return make_run(len(steps), **dict(zip(ORDER, columns, strict=True)))


@pytest.mark.parametrize("model", [EVERY, shipped()], ids=["every feature", "shipped"])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_it_is_the_answer_risk_of_the_prefix(model: AnswerModel, steps: list[tuple[float, ...]]) -> None:
    so_far, run = AnswerSoFar(model), run_of(steps)
    for count, step in enumerate(steps, 1):
        features = answer_features(run, count)
        assert not isinstance(features, str)
        edge = any(
            min(abs(features[each.feature] - end) for end in (each.lowest, each.highest)) < 1e-6 for each in model.terms
        )
        told, whole = so_far.add(*step), answer_risk(features, count, model).probability
        if not edge:  # where rounding decides
            assert (told is None) == (whole is None)
        if told is not None and whole is not None:
            assert told == pytest.approx(whole, abs=2e-6)


def test_there_is_none_beyond_the_most_tokens_nor_after_what_is_not_finite() -> None:
    step = (1.0, 1.0, 0.5, 0.6)
    so_far = AnswerSoFar(EVERY)
    assert [so_far.add(*step) is None for _ in range(12)] == [False] * 10 + [True] * 2
    so_far = AnswerSoFar(EVERY)
    told = [so_far.add(*each) for each in (step, (np.nan, *step[1:]), step)]
    assert told[0] is not None
    assert told[1:] == [None, None]


def test_a_finished_run_has_it_at_every_step() -> None:
    run = run_of([(1.0, 1.0, 0.5, 0.6)] * (shipped().most_tokens + 2))
    found = judge_early_warning(run).answer_so_far
    assert found is not None
    assert found.dtype == np.float32
    assert np.isnan(found).tolist() == [False] * shipped().most_tokens + [True] * 2
    features = answer_features(run, 5)
    assert not isinstance(features, str)
    assert found[4] == pytest.approx(answer_risk(features, 5, shipped()).probability, abs=2e-6)
    nothing = make_run(3)
    del nothing.columns["surprisal"]
    assert np.isnan(judge_early_warning(nothing).answer_so_far).all(), "without surprisal there is none"
