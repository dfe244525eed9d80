"""What warnings of entropy, margin, confidence and norms compare with: a baseline, a rough number, or what is set."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital.assessment.compound import judge_compound
from opentelemetry_instrumentation_corevital.assessment.early_warning import (
    LASTING_TOKENS,
    judge_early_warning,
)
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.narrative import tell
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.assessment.usual import BEYOND_STEPS, WarningBounds, entropy_is_often_high
from opentelemetry_instrumentation_corevital.baselines.profile import Profile
from opentelemetry_instrumentation_corevital.calibration import fit_profile
from opentelemetry_instrumentation_corevital.emission import judgements
from opentelemetry_instrumentation_corevital.run import Run
from tests.support.healthy_runs import LAYERS
from tests.support.made_runs import NOT_REPEATING, add_layers, make_run

STEPS = 80


def run_of(level: float, seed: int = 0, steps: int = STEPS, **columns: Any) -> Run:
    """Return a run of a model whose entropy is around a level, with layers."""
    rng = np.random.default_rng(seed)
    given: dict[str, Any] = {
        "entropy": level * rng.gamma(4.0, 0.25, steps),
        "margin": rng.beta(2, 6, steps),
        "top1_prob": rng.beta(3, 4, steps),
        **columns,
    }
    run = add_layers(make_run(steps, **given), LAYERS, seed=seed)
    run.model = dataclasses.replace(run.model, layer_count=LAYERS)
    return run


@pytest.fixture(scope="module")
def known() -> Thresholds:
    """Of a model that is unsure by nature: 6 bits in the mean."""
    return dataclasses.replace(DEFAULT, profile=_profile(6.0))


def _profile(level: float) -> Profile:
    return fit_profile([run_of(level, seed) for seed in range(60)])


def judged(run: Run, thresholds: Thresholds) -> Run:
    run.warnings = []
    run.health = judge_health(run, thresholds)
    run.early_warning = judge_early_warning(run, thresholds)
    run.risk = judge_risk(run, thresholds)
    run.narrative = tell(run, thresholds)
    return run


def test_an_unsure_model_is_warned_about_by_a_number_and_not_by_its_baseline(known: Thresholds) -> None:
    set_by_hand = Thresholds(high_entropy_bits=4.0)
    runs = [run_of(6.0, seed) for seed in range(100, 140)]
    for run in runs:
        judged(run, set_by_hand)
        assert entropy_is_often_high(run, set_by_hand)
        assert run.risk is not None
        assert run.risk.level == "medium", "as before: whoever sets a number has asked for that"
        judged(run, known)
        assert run.risk.level == "low"
    assert not any(entropy_is_often_high(judged(run, known), known) for run in runs)


def test_what_is_unusual_for_the_model_is_warned_about(known: Thresholds) -> None:
    salad = judged(run_of(12.0, 7), known)
    assert entropy_is_often_high(salad, known)
    assert salad.health is not None
    assert salad.health.evidence["high_entropy_steps"] == {
        "steps": salad.health.high_entropy_steps,
        "threshold": pytest.approx(known.profile.signals["entropy"].steps.quantile(0.99)[0], abs=1e-4),  # type: ignore[union-attr]
        "threshold_source": "baseline",
    }
    assert "steps were above what is usual for this model (" in (salad.narrative or "")
    rough = judged(run_of(12.0, 7), DEFAULT)
    assert "steps were above 4 bit, a rough limit." in (rough.narrative or "")
    assert rough.health is not None
    assert rough.health.evidence["high_entropy_steps"]["threshold_source"] == "rough"


def test_what_is_set_goes_before_the_baseline(known: Thresholds) -> None:
    thresholds = dataclasses.replace(known, high_entropy_bits=2.0)
    assert WarningBounds.of(thresholds).high_entropy == (2.0, "set")
    assert WarningBounds.of(known).high_entropy.source == "baseline"
    assert WarningBounds.of(DEFAULT).high_entropy == (4.0, "rough")
    run = judged(run_of(6.0, 3), thresholds)
    assert "steps were above 2 bit." in (run.narrative or "")


@pytest.mark.parametrize(("high", "warned"), [(8, False), (9, True)])
def test_ten_times_the_usual_share_is_warned_about(known: Thresholds, high: int, warned: bool) -> None:
    run = judged(run_of(0.0, entropy=[50.0] * high + [1.0] * (STEPS - high)), known)
    assert entropy_is_often_high(run, known) is warned
    short = judged(run_of(0.0, steps=10, entropy=[50.0] * 4 + [1.0] * 6), known)
    assert not entropy_is_often_high(short, known), "too few steps for a share"


# --- risk --------------------------------------------------------------------------------------------------------


def test_without_a_baseline_entropy_alone_never_makes_a_risk_medium(known: Thresholds) -> None:
    scores = []
    for thresholds in (DEFAULT, known, Thresholds(high_entropy_bits=4.0)):
        risk = judged(run_of(0.0, entropy=20.0), thresholds).risk
        assert risk is not None
        scores.append(risk.score)
    assert scores == pytest.approx([0.25, 0.5 * 0.99, 0.5])


def test_what_is_usual_adds_nothing_to_the_risk(known: Thresholds) -> None:
    one = judged(run_of(0.0, steps=200, entropy=[50.0] * 2 + [1.0] * 198), known)
    assert one.health is not None
    assert one.health.high_entropy_steps == 2
    assert one.risk is not None
    assert (one.risk.score, one.risk.factors) == (0.0, ())


@pytest.mark.parametrize("which", ["baseline", "rough", "set"])
def test_risk_so_far_is_the_risk_of_the_run_cut_off_there(known: Thresholds, which: str) -> None:
    thresholds = {"baseline": known, "rough": DEFAULT, "set": Thresholds(high_entropy_bits=3.0)}[which]
    run = run_of(9.0, 5)
    so_far = judge_early_warning(run, thresholds).risk_so_far
    for steps in range(1, STEPS + 1):
        cut = dataclasses.replace(
            run, tokens=run.tokens[:steps], columns={name: each[:steps] for name, each in run.columns.items()}
        )
        cut.health = judge_health(cut, thresholds)
        risk = judge_risk(cut, thresholds)
        assert risk is not None
        assert so_far[steps - 1] == pytest.approx(risk.score, abs=1e-6), steps


# --- early warnings ----------------------------------------------------------------------------------------------


def low_from(step: int, value: float, before: Callable[[int], Any]) -> Any:
    return np.where(np.arange(STEPS) < step, before(STEPS), value)


@pytest.mark.parametrize(
    ("signal", "column", "value"),
    [("margin_collapsing", "margin", 0.001), ("confidence_drop", "top1_prob", 0.02), ("entropy_rising", "entropy", 30)],
)
def test_a_warning_of_the_logits_asks_the_baseline(known: Thresholds, signal: str, column: str, value: float) -> None:
    rng = np.random.default_rng(11)
    usual = {"margin": lambda n: rng.beta(2, 6, n), "top1_prob": lambda n: rng.beta(3, 4, n)}
    before = usual.get(column, lambda n: 6.0 * rng.gamma(4.0, 0.25, n))
    run = run_of(6.0, 11, **{column: low_from(50, value, before)})
    warning = judge_early_warning(run, known)
    assert warning.signals == (signal,)
    evidence = warning.evidence[signal]
    assert evidence["threshold_source"] == "baseline"
    assert 50 + 3 < evidence["step"] < 50 + 8 + BEYOND_STEPS
    assert (evidence["value"] > evidence["threshold"]) is (signal == "entropy_rising")


def test_a_healthy_run_of_the_model_warns_of_nothing(known: Thresholds) -> None:
    found = [judge_early_warning(run_of(6.0, seed), known).signals for seed in range(200, 260)]
    assert sum(map(bool, found)) <= 3
    ordinary = [judge_early_warning(run_of(1.0, seed), DEFAULT).signals for seed in range(200, 260)]
    assert sum(map(bool, ordinary)) <= 3


def test_without_a_baseline_the_evidence_says_that_it_is_rough() -> None:
    run = run_of(1.0, 3, margin=low_from(40, 0.0, lambda n: np.full(n, 0.5)))
    assert judge_early_warning(run).evidence["margin_collapsing"]["threshold_source"] == "rough"


def test_a_norm_that_is_usual_for_the_model_does_not_jump(known: Thresholds) -> None:
    run = run_of(6.0, 4)
    run.columns["hidden_l2_norm"][50:, 4] *= 5
    evidence = judge_early_warning(run, known).evidence["norm_jump"]
    assert evidence["threshold_source"] == "baseline"
    assert evidence["value"] > evidence["threshold"]
    assert (evidence["layer"], evidence["step"]) == (4, 53), "four steps of eight"
    assert judge_early_warning(run).evidence["norm_jump"]["threshold_source"] == "rough"
    jumpy = [run_of(6.0, seed) for seed in range(60)]
    for each in jumpy:
        each.columns["hidden_l2_norm"][50:, 4] *= 5
    used_to_it = dataclasses.replace(DEFAULT, profile=fit_profile(jumpy))
    assert "norm_jump" not in judge_early_warning(run, used_to_it).signals


def test_a_single_token_is_no_jump() -> None:
    run = run_of(1.0, 4)
    run.columns["hidden_l2_norm"][50, 3:6] *= 20
    assert "norm_jump" not in judge_early_warning(run).signals


def test_a_layer_whose_norm_varies_anyway_does_not_jump() -> None:
    run = run_of(1.0, 4)
    wild = np.random.default_rng(1).normal(0, 0.6, (STEPS, LAYERS))
    run.columns["hidden_l2_norm"] = (100 * np.exp(wild)).astype(np.float32)
    assert (np.abs(wild) > np.log(1.8)).sum() > 100
    assert "norm_jump" not in judge_early_warning(run).signals


def test_confusion_asks_the_baseline(known: Thresholds) -> None:
    usual = run_of(6.0, 4, margin=0.5)
    assert [each.name for each in judge_compound(usual, Thresholds(high_entropy_bits=4.0))[0]] == [
        "confident_confusion"
    ]
    assert judge_compound(usual, known)[0] == ()
    odd = run_of(6.0, 4, margin=0.5, entropy=[20.0 if 30 <= step < 36 else 6.0 for step in range(STEPS)])
    (found,) = judge_compound(odd, known)[0]
    assert (found.name, found.evidence["threshold_source"]) == ("confident_confusion", "baseline")


def test_degeneration_asks_the_baseline(known: Thresholds) -> None:
    end = np.arange(STEPS) >= STEPS - 16
    columns = {
        "entropy": np.where(end, 11.0, 6.0),
        "surprisal": np.where(end, 11.0, 6.0),
        "margin": np.where(end, 0.05, 0.3),
    }
    known = dataclasses.replace(known, profile=_with_surprisal(known.profile))
    (found,) = judge_compound(run_of(6.0, **columns), known)[0]
    assert (found.name, found.evidence["threshold_source"]) == ("degenerating_generation", "baseline")
    mild = {**columns, "entropy": np.where(end, 7.6, 6.0)}
    assert judge_compound(run_of(6.0, **mild), known)[0] == (), "within what is usual, though 1.5 bit higher"
    assert [each.name for each in judge_compound(run_of(6.0, **mild))[0]] == ["degenerating_generation"]


def _with_surprisal(profile: Profile | None) -> Profile:
    """Return a profile that takes the surprisal to be as the entropy is."""
    assert profile is not None
    return profile.model_copy(update={"signals": {**profile.signals, "surprisal": profile.signals["entropy"]}})


# --- the finished run's warnings ---------------------------------------------------------------------------------


def repeating(copies: int, period: int) -> Run:
    phrase = NOT_REPEATING[50_000 : 50_000 + period]
    tokens = [*NOT_REPEATING[:30], *phrase.tolist() * copies, *NOT_REPEATING[100:160]]
    return make_run(len(tokens), tokens=tokens)


@pytest.mark.parametrize(
    ("copies", "period", "lasts"), [(2, 20, False), (2, LASTING_TOKENS + 8, True), (5, 12, True), (1, 10, None)]
)
def test_a_phrase_that_recurs_is_told_but_no_warning_of_the_finished_run(
    copies: int, period: int, lasts: bool | None
) -> None:
    run = repeating(copies, period)
    judgements.EarlyWarningProcessor().on_run_ending(INVALID_SPAN, run)
    assert run.early_warning is not None
    assert ("repetition_risk" in run.early_warning.signals) == (lasts is not None), "whoever watches was told"
    assert run.warnings == (["repetition_risk"] if lasts else [])
    run.health, run.risk = judge_health(run), None
    assert ("first warning" in tell(run)) == bool(lasts)
