"""Numbers that must agree: those of real runs do, and each kind of disagreement is found with its place."""

from collections.abc import Callable

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.assessment.consistency import disagreements
from opentelemetry_instrumentation_corevital.run import Run
from tests.support.made_runs import agreeing_run, make_run


def sets(name: str, value: float, *place: int) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.columns[name][place] = value

    return change


def test_what_agrees_is_not_told() -> None:
    assert disagreements(agreeing_run()) == []


def test_rounding_and_what_was_not_measured_agree() -> None:
    run = agreeing_run()
    for name, values in run.columns.items():
        if values.dtype == np.float32:
            values[3] = np.nan
            values[4] *= np.float32(1 + 1e-6)
            assert disagreements(run) == [], name
    assert run.alternatives is not None
    run.alternatives.probabilities[3] = np.nan
    assert disagreements(run) == []


@pytest.mark.parametrize(
    "name", ["topk_mass", "attention_mass_sink", "attention_entropy_max", "surprisal", "logits_nan"]
)
def test_a_run_without_a_signal_agrees(name: str) -> None:
    run = agreeing_run()
    del run.columns[name]
    assert disagreements(run) == []


def test_a_run_of_which_nothing_was_measured_agrees() -> None:
    assert disagreements(make_run(logits=False)) == []


WRONG: dict[str, tuple[Callable[[Run], None], str]] = {
    "mass": (sets("topk_mass", 0.65, 5), "topk_mass 0.65, top1_prob 0.7, margin 0.6 at step 5 (1 of 12)"),
    "margin": (sets("margin", 0.75, 5), "margin 0.75 at step 5 (1 of 12)"),
    "low entropy": (sets("entropy", 0.2, 7), "entropy 0.2, top1_prob 0.7 at step 7"),
    "high entropy": (sets("entropy", 12.0, 7), "entropy 12 at step 7"),
    "entropy of NaN": (sets("logits_nan", 2, 1), "entropy 1.5, logits_nan 2, logits_posinf 0 at step 1"),
    "region": (sets("attention_mass_prompt", 0.5, 4, 2), "total 1.2 at step 4, layer 2 (1 of 36)"),
    "range": (sets("attention_entropy", 0.9, 4, 1), "attention_entropy 0.9, attention_entropy_min 0.25 at step 4"),
    "surprisal": (sets("surprisal", 3.0, 2), "surprisal 3, expected 0.514573 at step 2"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_disagreement_is_told_with_its_numbers_and_place(what: str) -> None:
    change, numbers = WRONG[what]
    run = agreeing_run()
    change(run)
    assert numbers in "; ".join(each.text() for each in disagreements(run))


@pytest.mark.parametrize(
    ("rank", "value", "rule"),
    [(0, 0.5, "alternatives begin with top1_prob"), (1, 0.2, "margin"), (3, 0.3, "in order"), (4, 0.5, "topk_mass >=")],
)
def test_alternatives_of_another_distribution_are_told(rank: int, value: float, rule: str) -> None:
    run = agreeing_run()
    assert run.alternatives is not None
    run.alternatives.probabilities[6, rank] = value
    assert [each for each in disagreements(run) if rule in each.rule and "at step 6" in each.numbers]


@pytest.mark.parametrize("name", ["entropy", "hidden_l2_norm", "step times", "alternatives"])
def test_tokens_are_counted_in_three_ways(name: str) -> None:
    run = agreeing_run()
    if name == "step times":
        run.time_ns = run.time_ns[:-1]
    elif name == "alternatives":
        run.tokens, run.time_ns = run.tokens[:-1], run.time_ns[:-1]
        run.columns = {each: values[:-1] for each, values in run.columns.items()}
    else:
        run.columns[name] = run.columns[name][:-1]
    (found,) = disagreements(run)
    assert found.numbers == ("11 tokens, alternatives 12" if name == "alternatives" else f"12 tokens, {name} 11")
