"""Flags, blame and warnings from layers, each at, below and above its threshold."""

import dataclasses
import math

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.narrative import tell
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.catalogue import verdicts
from opentelemetry_instrumentation_corevital.run import HIDDEN_SIGNALS, BlamedLayer, Health, Run
from tests.support.known_models import known
from tests.support.made_runs import add_layers, make_run


def judged(run: Run, thresholds: Thresholds = DEFAULT) -> tuple[Health, tuple[BlamedLayer, ...]]:
    run.health = judge_health(run, thresholds)
    run.risk = judge_risk(run)
    blame = run.blame = judge_blame(run, thresholds)
    run.narrative = tell(run)
    assert blame is not None
    return run.health, blame


def steady(steps: int = 40, layers: int = 9, seed: int = 0) -> Run:
    """Return a run whose norms differ from their median by a known spread: 1 % of it."""
    run = add_layers(make_run(steps), layers, seed=seed)
    run.model = dataclasses.replace(run.model, layer_count=layers)
    wobble = np.where(np.arange(steps) % 2, 1.01, 0.99)
    run.columns["hidden_l2_norm"] = (wobble[:, None] * np.linspace(10, 500, layers)).astype(np.float32)
    run.columns["collapsed_head_rate"][:] = 0.02
    return run


def test_a_healthy_run_raises_nothing_and_blames_nobody() -> None:
    run = steady()
    health, blame = judged(run)
    assert health.raised() == []
    assert health.evidence == {}
    assert blame == ()


def test_without_a_baseline_no_flag_of_layers_is_judged() -> None:
    run = steady()
    run.columns["hidden_l2_norm"][20, 4:7] *= 30
    run.columns["collapsed_head_rate"][20:] = 0.9
    health, blame = judged(run)
    of_layers = {flag.name for flag in verdicts.FLAGS if flag.about == "layers"}
    assert health.flags().keys() == verdicts.FLAG.keys() - of_layers
    assert {health.absent[name] for name in of_layers} == {"no_baseline"}
    assert blame == ()


def test_a_run_without_a_whole_window_does_not_say_that_there_is_no_baseline() -> None:
    health, _ = judged(steady(8), known([steady(seed=seed) for seed in range(100, 140)]))
    of_layers = {flag.name for flag in verdicts.FLAGS if flag.about == "layers"}
    assert health.absent.keys() >= of_layers
    assert "no_baseline" not in health.absent.values()
    assert "too few steps to compare" in health.absent.values()


@pytest.mark.parametrize(("column", "flag"), [("hidden_nan", "nan_detected"), ("hidden_inf", "inf_detected")])
def test_what_is_not_finite_is_blamed_on_the_layer_where_it_began(column: str, flag: str) -> None:
    run = steady()
    run.columns[column][12:, 4:] = 7
    run.columns["hidden_l2_norm"][12:, 4:] = math.nan
    health, blame = judged(run)
    assert health.flags()[flag] is True
    assert health.evidence[flag] == {"step": 12, "steps": 28, "layer": 4, "values": 7, "layers": 5}
    assert health.mid_layer_anomaly_detected is True
    assert health.evidence["mid_layer_anomaly_detected"] == {"step": 12, "layer": 4, "norm": "not finite"}
    assert health.evidence["layer_anomaly_detected"] == {"step": 12, "layer": 4, "norm": "not finite"}
    assert [(each.layer, each.severity, each.evidence["step"]) for each in blame] == [(4, 1.0, 12)]
    assert run.risk is not None
    assert run.risk.score == 1.0
    assert run.narrative is not None
    assert f"Layer 4 put out 7 {'NaN' if 'nan' in flag else 'infinite'} values at step 12" in run.narrative


def test_without_a_middle_layer_there_is_no_verdict_on_it() -> None:
    """As under the option `layers`: what was not looked at is NaN, its counts too."""
    thresholds = known([steady(seed=seed) for seed in range(100, 140)])
    for looked_at, expected in (([0, 1, 8], None), ([0, 4, 8], False)):
        run = steady(seed=20)
        others = [layer for layer in range(9) if layer not in looked_at]
        for name in HIDDEN_SIGNALS:
            run.columns[name][:, others] = math.nan
        health, blame = judged(run, thresholds)
        assert health.mid_layer_anomaly_detected is expected
        assert health.layer_anomaly_detected is False
        assert blame == ()
        reason = health.absent.get("mid_layer_anomaly_detected")
        assert reason == ("no layer of the middle third was looked at" if expected is None else None)


def test_a_norm_that_overflows_is_not_finite() -> None:
    run = steady()
    run.columns["hidden_l2_norm"][12, 4] = math.inf  # its square does not fit, the values do
    health, blame = judged(run)
    assert sorted(health.raised()) == ["layer_anomaly_detected", "mid_layer_anomaly_detected"]
    assert [(each.layer, each.reason) for each in blame] == [(4, "values not finite")]
    assert "The norm of layer 4 was not finite at step 12" in (run.narrative or "")


@pytest.mark.parametrize("layer", [0, 4, 8])
@pytest.mark.parametrize("column", ["layer_transformation", "attention_entropy"])
def test_every_blamed_layer_raises_a_flag_counts_in_the_risk_and_is_named(column: str, layer: int) -> None:
    thresholds = known([steady(seed=seed) for seed in range(100, 140)])
    run = steady(seed=21)
    run.columns[column][16:, layer] = 30.0
    health, blame = judged(run, thresholds)
    assert [each.layer for each in blame] == [layer]
    middle = layer == 4 and column == "layer_transformation"
    assert health.layer_anomaly_detected is True
    assert health.mid_layer_anomaly_detected is middle
    assert run.risk is not None
    assert run.risk.level != "low"
    assert run.risk.score >= 0.7
    assert f"Layer {layer} stands out first, from step 16 on" in (run.narrative or "")
    assert "look at its" in (run.narrative or "")


@pytest.mark.parametrize("layer", [0, 4, 7, 8])
def test_a_layer_that_puts_out_nothing_but_zeros_is_blamed_first(layer: int) -> None:
    thresholds = known([steady(seed=seed) for seed in range(100, 140)])
    run = steady(seed=21)
    run.columns["hidden_l2_norm"][12:, layer] = 0.0
    run.columns["layer_transformation"][12:, layer] = math.nan  # zeros have no direction
    health, blame = judged(run, thresholds)
    assert blame[0].layer == layer
    assert blame[0].evidence["step"] == 12
    assert health.layer_anomaly_detected is True
    assert run.risk is not None
    assert run.risk.level != "low"
    assert f"Layer {layer} stands out first" in (run.narrative or "")


def test_collapsed_heads_of_all_layers_are_a_collapse_with_a_baseline() -> None:
    thresholds = known([steady(seed=seed) for seed in range(100, 140)])
    run = steady(seed=22)
    run.columns["collapsed_head_rate"][17:] += 0.5
    health, blame = judged(run, thresholds)
    assert health.attention_collapse_detected is True
    assert health.evidence["attention_collapse_detected"]["step"] == 17
    assert {each.reason for each in blame} == {"heads collapsed"}
    assert "52% of the attention heads had collapsed" in (run.narrative or "")
    few = steady(20, seed=23)
    few.columns["collapsed_head_rate"][3:] = np.nan
    health, _ = judged(few, thresholds)
    assert health.attention_collapse_detected is None
    assert health.absent["attention_collapse_detected"] == "too few steps with enough visible keys"


def test_what_was_not_measured_is_absent_and_not_false() -> None:
    run = make_run()
    run.absent.update(hidden_states="compiled", attention="compiled")
    run.health = judge_health(run)
    assert run.health.attention_collapse_detected is None
    assert run.health.mid_layer_anomaly_detected is None
    inside = {flag.name for flag in verdicts.FLAGS if {"hidden_states", "attention"} & set(flag.needs)}
    assert inside >= {"attention_collapse_detected", "mid_layer_anomaly_detected"}
    assert run.health.absent == {"hidden_states": "compiled", **dict.fromkeys(inside, "compiled")}
    assert judge_blame(run) is None
    assert run.health.flags().keys() == verdicts.FLAG.keys() - inside
    assert run.health.flags().keys() >= {"nan_detected", "inf_detected", "repetition_loop_detected"}
    absent = judge_health(make_run()).absent
    assert absent.keys() == {"hidden_states", *inside}
    assert absent["hidden_states"] == absent["mid_layer_anomaly_detected"] == "the layers were not measured"
    assert absent["attention_collapse_detected"] == "attention was not measured"
