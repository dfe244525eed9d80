"""Each rule at, below and above its threshold, on runs made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.compound import judge_compound
from opentelemetry_instrumentation_corevital.assessment.early_warning import (
    EarlyWarningMonitor,
    StepNumbers,
    judge_early_warning,
)
from opentelemetry_instrumentation_corevital.assessment.fingerprint import judge_fingerprint, normalize_prompt
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.history import NormHistory, Window
from opentelemetry_instrumentation_corevital.assessment.narrative import tell
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk, risk_level
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.emission.judgements import HealthProcessor
from opentelemetry_instrumentation_corevital.run import FINISH_REASONS, Prompt, Run, StopReason
from tests.support.made_runs import NOT_REPEATING, add_layers, make_run

LOOP = [*NOT_REPEATING[:10].tolist(), *NOT_REPEATING[10:20].tolist() * 4]


def judged(run: Run) -> Run:
    run.health = judge_health(run)
    run.early_warning = judge_early_warning(run)
    run.warn(run.early_warning.signals)
    run.risk = judge_risk(run)
    run.narrative = tell(run)
    return run


def spike(steps: int, step: int, value: float, base: float = 0) -> list[float]:
    return [value if index == step else base for index in range(steps)]


# --- health ------------------------------------------------------------------------------------------------------


def test_a_healthy_run_raises_nothing() -> None:
    run = judged(make_run())
    assert run.health is not None
    assert run.health.raised() == []
    assert run.health.evidence == {}
    assert run.warnings == []
    assert run.risk is not None
    assert (run.risk.score, run.risk.level, run.risk.factors) == (0.0, "low", ())


@pytest.mark.parametrize(
    ("column", "flag"),
    [("logits_nan", "nan_detected"), ("logits_posinf", "inf_detected"), ("logits_neginf", "inf_detected")],
)
def test_one_nonfinite_logit_is_seen_at_its_step(column: str, flag: str) -> None:
    run = judged(make_run(**{column: spike(40, 17, 3)}))
    assert run.health is not None
    assert run.health.raised() == [flag]
    assert run.health.evidence[flag] == {"step": 17, "logits": 3, "steps": 1}
    assert run.risk is not None
    assert run.risk.score == 1.0
    assert "step 17" in (run.narrative or "")


def test_a_constant_vocabulary_mask_is_no_infinity() -> None:
    assert judge_health(make_run(logits_neginf=24)).inf_detected is False
    assert judge_health(make_run(logits_neginf=1000)).inf_detected is True, "nothing but -Inf is no mask"


def test_a_loop_counts_only_if_it_was_cut_off() -> None:
    for reason, raised in (("length", True), ("stop", False), (None, True), ("error", True)):
        run = make_run(len(LOOP), tokens=LOOP)
        run.finish_reason = reason  # type: ignore[assignment]
        health = judge_health(run)
        assert health.repetition_loop_detected is raised, reason
    assert judge_health(make_run(len(LOOP), tokens=LOOP)).evidence["repetition_loop_detected"] == {
        "period": 10,
        "copies": 4.0,
        "start_step": 10,
        "onset_step": 20,
        "exact": True,
    }


ENDS: dict[StopReason, bool] = {
    "eos": False,
    "stop_string": False,
    "length": True,
    "time": True,
    "criterion": True,
    "policy": True,
    "cancelled": True,
    "error": True,
}


@pytest.mark.parametrize(("reason", "raised"), ENDS.items())
def test_a_loop_is_one_whoever_ends_it_but_the_text_itself(reason: StopReason, raised: bool) -> None:
    run = make_run(len(LOOP), tokens=LOOP)
    run.stop_reason, run.finish_reason = reason, FINISH_REASONS[reason]
    judged(run)
    assert run.health is not None
    assert run.early_warning is not None
    assert run.risk is not None
    assert run.health.repetition_loop_detected is raised
    assert ("repeated the 10 tokens" in (run.narrative or "")) is raised
    assert run.risk.level == ("high" if raised else "low")
    at_end = run.early_warning.failure_risk_at_end or 0.0
    assert at_end > 0.9 if raised else at_end == 0
    assert ("by itself" in (run.narrative or "")) is (reason == "eos")


def test_infinity_is_named_before_nan_with_the_layer_where_it_began() -> None:
    run = add_layers(make_run(), 6)
    run.columns["hidden_inf"][16, 2] = 1
    run.columns["hidden_nan"][16, 3:] = run.columns["hidden_nan"][17:, 2:] = 64
    run.columns["logits_nan"][16:] = 9
    run.columns["hidden_l2_norm"][16:, 2:] = np.nan
    for name in ("entropy", "surprisal", "margin", "top1_prob"):
        run.columns[name][16:] = np.nan
    run.columns["margin"][:16] = 0.01  # a warning before
    judged(run)
    run.blame = judge_blame(run)
    told = tell(run)
    assert "Layer 2 put out one infinite value at step 16" in told
    assert "NaN" in told
    assert "Layer 3" not in told
    assert "Entropy averaged" not in told
    assert run.early_warning is not None
    assert run.early_warning.signals == ("margin_collapsing",)
    assert max(run.early_warning.active) < 16
    assert (run.blame or ())[0].layer == 2


def test_what_follows_nan_is_no_finding() -> None:
    """Tokens that repeat, layers that jump, heads that collapse after it: a model full of NaN does that."""
    run = add_layers(make_run(60, tokens=[*NOT_REPEATING[:20], *[0] * 40]), 6)
    run.columns["logits_nan"][20:] = 9
    run.columns["hidden_l2_norm"][20:] *= 30
    run.columns["collapsed_head_rate"][20:] = 0.95
    run.columns["entropy"][20:] = 9
    judged(run)
    run.blame = judge_blame(run)
    assert run.health is not None
    assert run.early_warning is not None
    assert run.risk is not None
    assert run.health.raised() == ["nan_detected", "repetition_loop_detected"]
    assert run.blame == ()
    assert run.early_warning.signals == ()
    assert judge_compound(run)[0] == ()
    assert run.risk.factors == (("nan_detected", 1.0), ("repetition_loop_detected", 0.0))
    told = tell(run)
    assert "repetition loop followed" in told
    assert "Entropy" not in told
    assert "warning" not in told


def test_a_loop_before_nan_is_a_finding() -> None:
    run = make_run(len(LOOP), tokens=LOOP)
    run.columns["logits_nan"][-1:] = 1
    told = judged(run).narrative or ""
    assert "From step 20 on it repeated the 10 tokens" in told
    assert "followed" not in told


def test_high_entropy_is_above_and_not_at_the_threshold() -> None:
    assert judge_health(make_run(entropy=4.0)).high_entropy_steps == 0
    assert judge_health(make_run(entropy=spike(40, 3, 4.01, 1))).high_entropy_steps == 1


def test_what_was_not_measured_is_absent_with_its_reason() -> None:
    run = judged(make_run(logits=False))
    assert run.health is not None
    assert run.health.flags() == {"repetition_loop_detected": False}
    assert run.health.high_entropy_steps is None
    assert "contrastive_search" in run.health.absent["nan_detected"]
    assert run.risk is None, "no risk is claimed from nothing"
    assert run.early_warning is not None
    assert "contrastive_search" in run.early_warning.absent["entropy_rising"]


@pytest.mark.parametrize(("high", "warned"), [(12, False), (13, True)])
def test_a_share_of_high_entropy_steps_is_warned_about_above_its_threshold(high: int, warned: bool) -> None:
    run = make_run(entropy=[5.0] * high + [1.0] * (40 - high))
    HealthProcessor(Thresholds(high_entropy_bits=4.0)).on_run_ending(INVALID_SPAN, run)
    assert ("high_entropy_share" in run.warnings) == warned


@pytest.mark.parametrize(("high", "warned"), [(36, False), (37, True)])
def test_a_rough_threshold_warns_only_of_a_run_of_almost_nothing_else(high: int, warned: bool) -> None:
    run = make_run(entropy=[5.4] * high + [1.0] * (40 - high))
    HealthProcessor().on_run_ending(INVALID_SPAN, run)
    assert ("high_entropy_share" in run.warnings) == warned
    assert run.health is not None
    assert run.health.evidence["high_entropy_steps"] == {
        "steps": high,
        "threshold": 4.0,
        "threshold_source": "rough",
        "warning_steps": high,
        "warning_threshold": pytest.approx(0.53 * math.log2(1000), abs=1e-4),
    }


@pytest.mark.parametrize(("vocabulary", "warned"), [(1000, True), (None, False), (262_144, False), (64, True)])
def test_how_much_entropy_is_near_to_chance_depends_on_the_vocabulary(vocabulary: int | None, warned: bool) -> None:
    run = make_run(entropy=3.5 if vocabulary == 64 else 6.0)
    run.model = replace(run.model, vocabulary_size=vocabulary)
    HealthProcessor().on_run_ending(INVALID_SPAN, run)
    assert ("high_entropy_share" in run.warnings) == warned
    run.columns["entropy"][:] = 0.54 * math.log2(vocabulary or 32_768)
    run.warnings = []
    HealthProcessor().on_run_ending(INVALID_SPAN, run)
    assert run.warnings == ["high_entropy_share"], "it can fire whatever the vocabulary"


# --- risk --------------------------------------------------------------------------------------------------------


def test_risk_is_the_sum_of_its_factors() -> None:
    run = judged(make_run(len(LOOP), tokens=LOOP, entropy=[5.0] * 5 + [1.0] * 45))
    assert run.risk is not None
    assert run.risk.factors == (("repetition_loop_detected", 0.9), ("high_entropy_share", 0.05))
    assert run.risk.score == pytest.approx(0.95)
    half = judged(make_run(entropy=[5.0] * 20 + [1.0] * 20)).risk
    assert half is not None
    assert half.score == 0.25


def test_a_loop_without_logits_still_has_its_risk() -> None:
    run = judged(make_run(len(LOOP), tokens=LOOP, logits=False))
    assert run.risk is not None
    assert run.risk.score == 0.9


@pytest.mark.parametrize(
    ("score", "level"), [(0.0, "low"), (0.2999, "low"), (0.3, "medium"), (0.6999, "medium"), (0.7, "high"), (1, "high")]
)
def test_levels(score: float, level: str) -> None:
    assert risk_level(score) == level


# --- early warning -----------------------------------------------------------------------------------------------


def first_warned(run: Run, signal: str, thresholds: Thresholds = DEFAULT) -> int | None:
    warning = judge_early_warning(run, thresholds)
    return warning.evidence[signal]["step"] if signal in warning.signals else None


def test_entropy_rising_needs_history_and_a_rise() -> None:
    least = 1 + 0.36 * (math.log2(1000) - 1)
    step_up = [1.0] * 30 + [least + 0.3] * 12
    assert first_warned(make_run(42, entropy=step_up), "entropy_rising") == 40, "a window and three steps"
    assert first_warned(make_run(42, entropy=[1.0] * 30 + [least - 0.05] * 12), "entropy_rising") is None
    assert first_warned(make_run(entropy=[1.0] * 15 + [9.0] * 8, steps=23), "entropy_rising") is None


def test_entropy_that_varies_anyway_does_not_rise() -> None:
    wild = [0.1, 9.0] * 20
    assert first_warned(make_run(52, entropy=wild + [8.5] * 12), "entropy_rising") is None
    assert first_warned(make_run(52, entropy=[4.5] * 40 + [8.5] * 12), "entropy_rising") == 46


def test_what_soon_passes_is_no_rough_warning() -> None:
    short = make_run(60, entropy=[1.0] * 30 + [4.8] * 7 + [1.0] * 23)
    assert first_warned(short, "entropy_rising") is None
    dip = make_run(60, margin=[0.6] * 30 + [0.0] * 7 + [0.6] * 23)
    assert first_warned(dip, "margin_collapsing") is None


def test_margin_collapsing_and_confidence_drop() -> None:
    tenth = Thresholds(margin_collapsed=0.1)
    assert first_warned(make_run(margin=[0.5] * 20 + [0.0] * 20), "margin_collapsing", tenth) == 29
    assert first_warned(make_run(margin=0.1), "margin_collapsing", tenth) is None
    assert first_warned(make_run(margin=[0.5] * 20 + [0.0] * 20), "margin_collapsing") == 28
    assert first_warned(make_run(margin=0.19 * 0.7), "margin_collapsing") is None
    assert first_warned(make_run(margin=0.17 * 0.7), "margin_collapsing") == 10
    assert first_warned(make_run(top1_prob=[0.8] * 24 + [0.1] * 16), "confidence_drop") == 33
    assert first_warned(make_run(top1_prob=[0.8] * 24 + [0.2] * 16), "confidence_drop") is None


def test_a_small_margin_is_no_collapse_where_the_best_token_is_improbable_anyway() -> None:
    unsure = make_run(margin=0.018, top1_prob=0.05)
    assert first_warned(unsure, "margin_collapsing") is None
    assert first_warned(make_run(margin=0.018, top1_prob=0.3), "margin_collapsing") == 10


def test_repetition_risk_warns_in_the_second_copy_and_failure_risk_rises_with_the_loop() -> None:
    run = make_run(len(LOOP), tokens=LOOP)
    warning = judge_early_warning(run)
    assert warning.first_step == 26, "7 tokens into the second copy"
    rising = warning.failure_risk[22:]
    assert warning.failure_risk[:23] == pytest.approx(estimate(loop=False, recurring=0))
    assert warning.failure_risk[26] == pytest.approx(estimate(loop=False, recurring=4 / 24))
    assert (np.diff(rising) >= 0).all()
    assert rising[-1] == pytest.approx(estimate(loop=True, recurring=1))
    assert rising[-1] > 0.9
    assert warning.risk_so_far[-1] == pytest.approx(0.9)


def estimate(*, loop: bool, recurring: float) -> float:
    """Return the documented formula."""
    return 1 / (1 + float(np.exp(3.02 - 1.44 * loop - 4.10 * recurring)))


def test_failure_risk_fades_when_nothing_recurs_any_more() -> None:
    tokens = [*NOT_REPEATING[:20], *NOT_REPEATING[10:20], *NOT_REPEATING[30:60]]
    warning = judge_early_warning(make_run(len(tokens), tokens=tokens))
    last = 29  # the last token that recurs
    assert warning.failure_risk[last] == pytest.approx(estimate(loop=False, recurring=7 / 24))
    assert warning.failure_risk[last + 23] > warning.failure_risk[last + 24]
    assert warning.failure_risk[last + 24] == pytest.approx(estimate(loop=False, recurring=0))


def test_norm_jump_compares_a_middle_layer_with_its_mean_so_far() -> None:
    for times, jumped in ((1.79, False), (1.81, True), (1 / 1.79, False), (1 / 1.81, True)):
        run = add_layers(make_run(), 6)
        run.columns["hidden_l2_norm"][:] = 10
        run.columns["hidden_l2_norm"][0] = 500  # the prompt's last token counts for nothing
        run.columns["hidden_l2_norm"][27:31, 3] *= times
        warning = judge_early_warning(run)
        assert ("norm_jump" in warning.signals) == jumped, times
        if jumped:
            assert {"step": 30, "layer": 3}.items() <= warning.evidence["norm_jump"].items()
            assert warning.evidence["norm_jump"]["value"] == pytest.approx(times, rel=1e-3)


def test_a_window_has_a_mean_as_soon_as_it_is_full_and_a_base_from_then_on() -> None:
    window = Window(3)
    told = []
    for value in (1.0, math.nan, 2.0, 6.0, math.inf, 4.0, 3.0):
        window.add(value)
        told.append((window.mean, window.base_count, window.base_mean))
    assert told[:3] == [(pytest.approx(math.nan, nan_ok=True), 0, 0.0)] * 3
    assert told[3:] == [(3.0, 0, 0.0), (3.0, 0, 0.0), (4.0, 1, 1.0), (pytest.approx(13 / 3), 2, 1.5)]
    assert window.base_deviation == 0.5


norms = st.one_of(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([math.nan, math.inf, -math.inf, 5.0, -5.0]))


@given(rows=st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(norms, min_size=n, max_size=n), max_size=30)))
@settings(max_examples=400, deadline=None)
def test_a_layers_norm_is_compared_with_the_mean_of_what_was_finite(rows: list[list[float]]) -> None:
    history, means = NormHistory(1.8, 4), [math.nan] * 5
    for count, row in enumerate(rows, 1):
        furthest: tuple[float, int, float] | None = None
        for layer, value in enumerate(row):
            if not math.isfinite(means[layer]):
                means[layer] = value
                continue
            if not math.isfinite(value):
                continue
            off = value - means[layer]
            means[layer] += off / count
            if abs(off) > math.log(1.8) and (furthest is None or abs(off) > furthest[0]):
                furthest = abs(off), layer, off
        told = history.add(row)
        if furthest is None or count <= 4:
            assert told is None
        else:
            assert told is not None
            assert told[0] == furthest[1]
            assert told[1] == pytest.approx(math.exp(furthest[2]))


@pytest.mark.parametrize("layer", [0, 1, 4, 5])
def test_norm_jump_looks_at_the_middle_third_only(layer: int) -> None:
    run = add_layers(make_run(), 6)
    run.columns["hidden_l2_norm"][:] = 10
    run.columns["hidden_l2_norm"][30, layer] = 1000
    assert "norm_jump" not in judge_early_warning(run).signals


@pytest.mark.parametrize(("step", "jumped"), [(19, False), (20, True)])
def test_norm_jump_needs_history(step: int, jumped: bool) -> None:
    run = add_layers(make_run(), 6)
    run.columns["hidden_l2_norm"][:] = 10
    run.columns["hidden_l2_norm"][step - 3 : step + 1, 2] = 100
    warning = judge_early_warning(run)
    assert (warning.evidence.get("norm_jump", {}).get("step") == step) == jumped


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_norm_that_has_no_logarithm_is_left_out(value: float) -> None:
    run = add_layers(make_run(), 6)
    run.columns["hidden_l2_norm"][:] = 10
    run.columns["hidden_l2_norm"][1:5, 2] = value
    run.columns["hidden_l2_norm"][25, 3] = value
    assert "norm_jump" not in judge_early_warning(run).signals
    run.columns["hidden_l2_norm"][32:36, 2] = 30
    assert judge_early_warning(run).evidence["norm_jump"]["step"] == 35


@pytest.mark.parametrize(("rise", "warned"), [(0.065, False), (0.075, True)])
def test_attention_collapsing_warns_of_a_rise_that_is_no_collapse_yet(rise: float, warned: bool) -> None:
    run = add_layers(make_run(), 6)
    run.columns["collapsed_head_rate"][:] = 0.05
    run.columns["collapsed_head_rate"][20:30] = 0.05 + rise
    warning = judge_early_warning(run)
    assert ("attention_collapsing" in warning.signals) == warned
    if warned:
        assert warning.evidence["attention_collapsing"]["step"] == 26, "a window of four looks, four times in a row"
        assert [step for step, told in warning.active.items() if "attention_collapsing" in told] == [26, 27]
    assert judge_health(run).attention_collapse_detected is None


def test_signals_of_what_was_not_measured_are_absent_with_a_reason() -> None:
    run = make_run()
    run.absent["attention"] = "attention is not looked at (attention_every=0)"
    absent = judge_early_warning(run).absent
    assert absent["attention_collapsing"] == run.absent["attention"]
    assert "norm_jump" in absent


def test_a_nan_makes_both_risks_certain_and_keeps_them_so() -> None:
    warning = judge_early_warning(make_run(logits_nan=spike(40, 10, 1)))
    assert [risk == 1 for risk in warning.failure_risk[9:12]] == [False, True, True]
    assert warning.risk_so_far[-1] == 1


@pytest.mark.parametrize("column", ["hidden_nan", "hidden_inf"])
def test_what_is_not_finite_in_a_layer_counts_though_the_logits_hide_it(column: str) -> None:
    run = add_layers(make_run(), 6)
    run.columns[column][10, 3] = 2
    warning = judge_early_warning(run)
    assert [risk == 1 for risk in warning.failure_risk[9:12]] == [False, True, True]
    assert warning.risk_so_far[9:12].tolist() == [0, 1, 1]


def cut_off(run: Run, steps: int) -> Run:
    """Return the run as it would have been with so many steps."""
    columns = {name: values[:steps] for name, values in run.columns.items()}
    return replace(run, tokens=run.tokens[:steps], time_ns=run.time_ns[:steps], columns=columns)


@pytest.mark.parametrize("fault", ["none", "logits", "layer"])
def test_risk_so_far_is_the_risk_of_the_run_cut_off_there(fault: str) -> None:
    rng = np.random.default_rng(3)
    run = add_layers(make_run(len(LOOP), tokens=LOOP, entropy=rng.gamma(2, 1.5, len(LOOP))), 6, every=2)
    run.columns["hidden_l2_norm"][:] = 10  # no anomaly of a middle layer
    if fault == "logits":
        run.columns["logits_posinf"][22] = 1
    elif fault == "layer":
        run.columns["hidden_nan"][22, 3] = 1
    warning = judge_early_warning(run)
    for steps in range(1, run.steps + 1):
        risk = judged(cut_off(run, steps)).risk
        assert risk is not None
        assert warning.risk_so_far[steps - 1] == pytest.approx(risk.score), steps
    assert warning.risk_so_far[-1] >= 0.9, "the loop"


def test_the_finished_run_says_what_the_live_monitor_said() -> None:
    rng = np.random.default_rng(1)
    run = make_run(
        300,
        tokens=rng.integers(0, 6, 300),
        entropy=rng.gamma(2, 1.5, 300),
        margin=rng.beta(1, 3, 300),
        top1_prob=rng.beta(2, 2, 300),
    )
    warning = judge_early_warning(run)
    monitor = EarlyWarningMonitor()
    for step in range(300):
        told = monitor.update(
            StepNumbers(
                int(run.tokens[step]),
                float(run.columns["entropy"][step]),
                float(run.columns["margin"][step]),
                float(run.columns["top1_prob"][step]),
            )
        )
        assert told.failure_risk == pytest.approx(float(warning.failure_risk[step]))
        assert told.signals == warning.active.get(step, ())


# --- fingerprint and narrative -----------------------------------------------------------------------------------


def test_the_prompt_hash_is_of_the_normalised_text_and_not_of_the_model() -> None:
    run, other = make_run(), make_run()
    run.prompt, other.prompt = Prompt("  Caf\u00e9? ", "text"), Prompt("Cafe\u0301?", "text")
    mine, theirs = judge_fingerprint(run), judge_fingerprint(other)
    assert normalize_prompt("  Cafe\u0301? ") == "Caf\u00e9?"
    assert mine.prompt_hash == theirs.prompt_hash
    assert mine.run_hash == theirs.run_hash
    other.prompt = Prompt("caf\u00e9?", "text")
    assert judge_fingerprint(other).prompt_hash != mine.prompt_hash, "case counts"
    keyed = judge_fingerprint(run, key="secret")
    assert keyed.prompt_hash not in (mine.prompt_hash, None)
    assert judge_fingerprint(make_run()).prompt_hash is None


def test_the_narrative_has_two_to_four_sentences_and_its_facts() -> None:
    loop = judged(make_run(len(LOOP), tokens=LOOP)).narrative or ""
    assert "From step 20 on it repeated the 10 tokens" in loop
    for run in (make_run(), make_run(logits=False), make_run(1), make_run(len(LOOP), tokens=LOOP), make_run(0)):
        sentences = (judged(run).narrative or "").removesuffix(".").split(". ")
        assert 2 <= len(sentences) <= 4, sentences
