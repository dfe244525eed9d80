"""Health flags and blame from layers, each at, below and above its threshold."""

import math

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.narrative import tell
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk
from opentelemetry_instrumentation_corevital.catalogue import verdicts
from opentelemetry_instrumentation_corevital.run import HIDDEN_SIGNALS, BlamedLayer, Health, Run
from tests.support.made_runs import add_layers, make_run


def judged(run: Run) -> tuple[Health, tuple[BlamedLayer, ...]]:
    run.health = judge_health(run)
    run.risk = judge_risk(run)
    blame = run.blame = judge_blame(run)
    run.narrative = tell(run)
    assert blame is not None
    return run.health, blame


def steady(steps: int = 40, layers: int = 9) -> Run:
    """Return a run whose norms differ from their median by a known spread: 1 % of it."""
    run = add_layers(make_run(steps), layers)
    wobble = np.where(np.arange(steps) % 2, 1.01, 0.99)
    run.columns["hidden_l2_norm"] = (wobble[:, None] * np.linspace(10, 500, layers)).astype(np.float32)
    run.columns["collapsed_head_rate"][:] = 0.02
    return run


def test_a_healthy_run_raises_nothing_and_blames_nobody() -> None:
    run = steady()
    health, blame = judged(run)
    assert health.attention_collapse_detected is False
    assert health.mid_layer_anomaly_detected is False
    assert health.evidence == {}
    assert blame == ()


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
    assert [(each.layer, each.severity, each.evidence["step"]) for each in blame] == [(4, 1.0, 12)]
    assert run.risk is not None
    assert run.risk.score == 1.0
    assert run.narrative is not None
    assert f"Layer 4 put out 7 {'NaN' if 'nan' in flag else 'infinite'} values at step 12" in run.narrative


def test_a_middle_layer_far_from_its_own_median_is_an_anomaly() -> None:
    for factor, expected in ((1.4, False), (1.6, True), (0.4, True), (0.6, False)):
        run = steady()
        run.columns["hidden_l2_norm"][20, 4] *= factor
        assert judged(run)[0].mid_layer_anomaly_detected is expected, factor


def test_the_neighbours_that_stand_out_with_it_are_named_after_the_first() -> None:
    run = steady()
    run.columns["hidden_l2_norm"][20, 4:7] *= 30
    run.columns["hidden_l2_norm"][20, 8] *= 30  # not a neighbour
    run.columns["hidden_l2_norm"][31, 2] *= 90  # at another step
    health, blame = judged(run)
    found = health.evidence["mid_layer_anomaly_detected"]
    assert found["step"] == 20
    assert found["layer"] in (4, 5)
    assert found["z"] > found["threshold"] == 8.0
    assert [each.layer for each in blame] == [4, 5, 6]
    assert [each.severity for each in blame] == [0.9, 0.45, 0.45]
    assert "norm outlier: step 20, norm" in blame[0].text()
    assert run.risk is not None
    assert dict(run.risk.factors)["mid_layer_anomaly_detected"] == 0.7


def test_the_jumps_of_early_and_late_layers_are_no_anomaly() -> None:
    run = steady()
    run.columns["hidden_l2_norm"][20, [0, 1, 2, 6, 7, 8]] *= 100
    health, blame = judged(run)
    assert health.mid_layer_anomaly_detected is False
    assert blame == ()


def test_an_absolute_multiple_of_the_early_layers_is_no_anomaly() -> None:
    run = steady()
    run.columns["hidden_l2_norm"][:, 3:] *= 1000  # at every step
    assert judged(run)[0].mid_layer_anomaly_detected is False


def test_too_few_steps_cannot_be_compared() -> None:
    run = steady(16)
    health, _ = judged(run)
    assert health.mid_layer_anomaly_detected is None
    assert "too few steps" in health.absent["mid_layer_anomaly_detected"]
    assert judged(steady(17))[0].mid_layer_anomaly_detected is False


def test_without_a_middle_layer_there_is_no_verdict_on_it() -> None:
    """As under the option `layers`: what was not looked at is NaN, its counts too."""
    for looked_at, expected in (([0, 1, 8], None), ([0, 4, 8], False)):
        run = steady()
        others = [layer for layer in range(9) if layer not in looked_at]
        for name in HIDDEN_SIGNALS:
            run.columns[name][:, others] = math.nan
        health, blame = judged(run)
        assert health.mid_layer_anomaly_detected is expected
        assert blame == ()
        reason = health.absent.get("mid_layer_anomaly_detected")
        assert reason == ("no layer of the middle third was looked at" if expected is None else None)


def test_a_layer_with_few_finite_norms_is_not_compared() -> None:
    run = steady()
    run.columns["hidden_l2_norm"][4:, [3, 4, 5]] = math.nan
    run.columns["hidden_nan"][4:, [3, 4, 5]] = math.nan
    run.columns["hidden_l2_norm"][3, 4] *= 1000
    health, _ = judged(run)
    assert health.mid_layer_anomaly_detected is None
    assert "too few steps" in health.absent["mid_layer_anomaly_detected"]


def test_a_norm_that_overflows_is_told_without_a_median() -> None:
    run = steady()
    run.columns["hidden_l2_norm"][12, 4] = math.inf  # its square does not fit, the values do
    health, _ = judged(run)
    assert health.raised() == ["mid_layer_anomaly_detected"]
    assert "The norm of layer 4 was not finite at step 12." in (run.narrative or "")


@pytest.mark.parametrize(("rise", "expected"), [(0.14, False), (0.16, True)])
def test_a_rise_of_collapsed_heads_is_a_collapse(rise: float, expected: bool) -> None:
    run = steady()
    run.columns["collapsed_head_rate"][20:] += rise
    health, blame = judged(run)
    assert health.attention_collapse_detected is expected
    if expected:
        found = health.evidence["attention_collapse_detected"]
        assert found["step"] == 23, "the first four steps in a row"
        assert found["before"] == pytest.approx(0.02)
        assert found["rate"] == pytest.approx(0.18)
        assert "18% of the attention heads had collapsed" in (run.narrative or "")
    assert blame == ()  # no single layer rises by more than the others


def test_the_layers_that_collapse_are_blamed() -> None:
    run = steady()
    run.columns["collapsed_head_rate"][20:, 5:8] = [0.9, 0.6, 0.5]
    health, blame = judged(run)
    assert health.attention_collapse_detected is True
    assert [(each.layer, each.severity) for each in blame] == [(5, 0.8), (6, 0.58), (7, 0.48)]
    assert blame[0].evidence == {"step": 23, "rate": 0.9, "before": 0.02}


def test_heads_that_are_collapsed_all_along_are_a_collapse() -> None:
    run = steady()
    run.columns["collapsed_head_rate"][:] = 0.69
    assert judged(run)[0].attention_collapse_detected is False
    run.columns["collapsed_head_rate"][:] = 0.71
    assert judged(run)[0].attention_collapse_detected is True


def test_steps_that_were_not_looked_at_do_not_count() -> None:
    run = steady(64)
    run.columns["collapsed_head_rate"][np.arange(64) % 8 != 0] = np.nan
    run.columns["collapsed_head_rate"][32:] += 0.5
    found = judged(run)[0].evidence["attention_collapse_detected"]
    assert found["step"] % 8 == 0
    few = steady(20)
    few.columns["collapsed_head_rate"][3:] = np.nan
    health, _ = judged(few)
    assert health.attention_collapse_detected is None
    assert "attention_collapse_detected" in health.absent


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
