"""Baseline profiles: what they hold, how they are found, and what they change in a verdict."""

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.compound import judge_compound
from opentelemetry_instrumentation_corevital.assessment.deviation import deviations, where_it_began
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.baselines.lookup import file_name
from opentelemetry_instrumentation_corevital.baselines.profile import LEVELS, Spread
from opentelemetry_instrumentation_corevital.baselines.profiled_signals import layer_signals, windows
from opentelemetry_instrumentation_corevital.calibration import (
    Profile,
    ProfileError,
    Profiles,
    fit_profile,
    profiles_folder,
    read_profile,
    write_profile,
)
from opentelemetry_instrumentation_corevital.run import ModelInfo, Run
from tests.support.healthy_runs import LAYERS, healthy
from tests.support.known_models import known
from tests.support.made_runs import make_run


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile([healthy(seed) for seed in range(40)], prompts=["a", "b"])


@pytest.fixture(scope="module")
def thresholds() -> Thresholds:
    return known([healthy(seed) for seed in range(40)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path


def test_numbers_are_those_of_the_pooled_steps(profile: Profile) -> None:
    """Median, 1.4826 x median absolute deviation and quantiles in float64, one number at a time."""
    runs = [healthy(seed) for seed in range(40)]
    found = profile.layers["layer_transformation"].steps
    for layer in range(LAYERS):
        values = sorted(float(v) for run in runs for v in run.columns["layer_transformation"][1:, layer])
        middle = len(values) // 2
        median = (values[middle - 1] + values[middle]) / 2 if len(values) % 2 == 0 else values[middle]
        away = sorted(abs(value - median) for value in values)
        scale = 1.4826 * ((away[middle - 1] + away[middle]) / 2 if len(away) % 2 == 0 else away[middle])
        assert found.location[layer] == pytest.approx(median, rel=2e-3)
        assert found.scale[layer] == pytest.approx(scale, rel=2e-3)
        for level, quantiles in zip(LEVELS, found.quantiles, strict=True):
            assert quantiles[layer] == pytest.approx(float(np.quantile(values, level)), rel=2e-3)
    gain, norm = (profile.layers[name].steps.location for name in ("log2_gain", "log2_norm"))
    assert gain[0] == norm[0], "nothing is before the first layer"
    assert profile.made.runs == 40
    assert profile.made.steps == 40 * 60


def test_a_profile_is_written_and_read_back(profile: Profile, tmp_path: Path) -> None:
    file = tmp_path / "new" / "p.json"
    write_profile(profile, file)
    assert read_profile(file) == profile
    assert file.stat().st_size < 64 * 1024
    assert "a" not in json.loads(file.read_text())["made"].values(), "prompts are not kept"
    assert [path.name for path in file.parent.iterdir()] == ["p.json"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1, column 1"),
        ("{", "line 1, column 2"),
        ("[]", "is no profile"),
        ('{"format": "corevital-baseline-profile", "version": 9}', "version 9"),
        ('{"format": "corevital-baseline-profile", "version": 1}', "model"),
    ],
)
def test_a_damaged_profile_is_told_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(text)
    with pytest.raises(ProfileError) as error:
        read_profile(file)
    assert str(file) in str(error.value)
    assert says in str(error.value)


def test_a_damaged_number_is_told_with_its_place(profile: Profile, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    write_profile(profile, file)
    data = json.loads(file.read_text())
    data["layers"]["log2_gain"]["windows"]["quantiles"][3] = data["layers"]["log2_gain"]["windows"]["quantiles"][3][:-1]
    file.write_text(json.dumps(data))
    with pytest.raises(ProfileError, match=r"layers\.log2_gain\.windows"):
        read_profile(file)


def test_a_profile_is_found_by_the_models_name_and_used(profile: Profile, home: Path) -> None:
    assert Profiles().of(healthy(1).model).profile is None
    write_profile(profile, profiles_folder() / file_name("org/model"))
    assert Profiles().of(healthy(1).model).profile == profile
    assert Profiles("off").of(healthy(1).model).profile is None
    assert Profiles("org/model").of(healthy(1).model).profile == profile
    assert Profiles(str(profiles_folder() / "org--model.json")).of(healthy(1).model).profile == profile
    with pytest.raises(ProfileError, match="corevital calibrate"):
        Profiles("nobody/has-this")


@pytest.mark.parametrize("name", ["x" * 5000, "a/" + "b" * 5000, "nul\0nul.json", "~nobody-of-that-name/x.json"])
def test_a_model_whose_name_no_file_can_have_has_no_profile(name: str, home: Path) -> None:
    assert Profiles().of(dataclasses.replace(healthy(1).model, name=name)).profile is None
    with pytest.raises(ProfileError, match="no such file"):
        Profiles(name)


def test_another_models_profile_warns_and_is_not_used(
    profile: Profile, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_profile(profile, profiles_folder() / "mine.json")
    named = Profiles(str(profiles_folder() / "mine.json"))
    other = dataclasses.replace(healthy(1).model, name="org/other", layer_count=32)
    with caplog.at_level(logging.WARNING):
        found, again = named.of(other), named.of(other)
    assert found.profile is None
    assert found.reason is not None
    assert "layer count 9, not 32" in found.reason
    assert found == again
    assert len(caplog.records) == 1
    alike = dataclasses.replace(healthy(1).model, name="org/other")
    assert named.of(alike).profile == profile, "it was asked for by name, and fits"
    assert "name org/model, not org/other" in caplog.records[1].getMessage()


def test_the_packaged_profile_is_that_of_smollm2() -> None:
    model = ModelInfo(name="SmolLM2-135M-Instruct", architecture="LlamaForCausalLM", layer_count=30)
    found = Profiles().of(model).profile
    assert found is not None
    assert found.model.layer_count == 30
    assert found.made.steps > 10_000
    assert {"log2_gain", "layer_transformation", "attention_entropy", "collapsed_head_rate"} <= set(found.layers)
    assert {"entropy", "prompt_focus"} <= set(found.signals)


# --- verdicts ----------------------------------------------------------------------------------------------------


def judged(run: Run, thresholds: Thresholds) -> Run:
    run.health = judge_health(run, thresholds)
    run.blame = judge_blame(run, thresholds)
    return run


def test_healthy_runs_are_not_told_apart_from_those_of_the_profile(thresholds: Thresholds) -> None:
    for seed in range(100, 140):
        run = judged(healthy(seed), thresholds)
        assert run.health is not None
        assert not run.health.raised()
        assert run.blame == ()
        assert judge_compound(run, thresholds)[0] == ()


@pytest.mark.parametrize("layer", [1, 4, 8])
def test_a_layer_that_always_does_something_else_is_blamed_with_a_baseline_only(
    thresholds: Thresholds, layer: int
) -> None:
    run = healthy(200)
    run.columns["hidden_l2_norm"][:, layer:] *= 64  # from the first step on: the run has nothing to compare with
    assert judged(run, DEFAULT).blame == ()
    assert run.health is not None
    assert run.health.absent["layer_anomaly_detected"] == "no_baseline"
    blame = judged(run, thresholds).blame
    assert blame is not None
    assert blame[0].layer == layer
    assert blame[0].reason == "norm grows or shrinks unusually"
    assert blame[0].severity == 0.9
    assert {"step", "signal", "value", "usual", "excess", "threshold"} == set(blame[0].evidence)
    assert run.health is not None
    assert run.health.layer_anomaly_detected is True
    assert run.health.evidence["layer_anomaly_detected"]["layer"] == layer
    assert run.health.mid_layer_anomaly_detected is (layer == 4)


def test_a_layer_that_does_nothing_any_more_is_blamed(thresholds: Thresholds) -> None:
    """0 is not far from what is usual in its own unit: its logarithm is."""
    run = healthy(209)
    run.columns["layer_transformation"][24:, 6] = 0.0
    blame = judged(run, thresholds).blame
    assert blame is not None
    assert [(each.layer, each.reason) for each in blame] == [(6, "turns its input unusually")]
    assert blame[0].evidence["step"] == 24


def test_the_layer_in_which_it_began_comes_first(thresholds: Thresholds) -> None:
    run = healthy(201)
    run.columns["layer_transformation"][32:, 6] = 3000.0
    run.columns["layer_transformation"][24:, 3] = 60.0  # weaker, but earlier
    found = deviations(run, thresholds)
    assert found is not None
    assert [each.layer for each in where_it_began(found)] == [3, 6]


@pytest.mark.parametrize(("above", "told"), [(0.14, False), (0.16, True)])
def test_heads_that_are_collapsed_all_along_are_told_by_the_baseline(
    thresholds: Thresholds, above: float, told: bool
) -> None:
    run = healthy(206)
    assert thresholds.profile is not None
    usual = thresholds.profile.signals["collapsed_share"].windows.location[0]
    assert usual is not None
    run.columns["collapsed_head_rate"][:] = usual + above
    run.columns["collapsed_head_rate"][:, 4] += 0.9  # whatever the fraction over all, this layer is out
    run.columns["collapsed_head_rate"][:, 5] -= 0.9
    health = judge_health(run, thresholds)
    assert health.layer_anomaly_detected is True
    assert health.attention_collapse_detected is told
    if told:
        evidence = health.evidence["attention_collapse_detected"]
        assert evidence["step"] == 1
        assert evidence["rate"] == pytest.approx(usual + above, abs=1e-3)
        assert evidence["usual"] == pytest.approx(usual, abs=1e-4)
        assert evidence["threshold"] == pytest.approx(usual + DEFAULT.collapse_rise, abs=1e-3)
    wide = [healthy(seed) for seed in range(40)]
    for seed, each in enumerate(wide):
        each.columns["collapsed_head_rate"][:] += 0.2 * (seed % 5 == 0)
    health = judge_health(run, known(wide))
    assert health.layer_anomaly_detected is True
    assert health.attention_collapse_detected is False, "such fractions are known of healthy runs"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("at", [9, 21, 24, 25, 30, 52, 56])
def test_what_a_window_tells_is_dated_by_the_step_at_which_it_began(thresholds: Thresholds, at: int, sign: int) -> None:
    run = healthy(201)
    run.columns["attention_entropy"][at:, 6] = 30.0 * sign
    run.columns["attention_entropy"][at - 2, 6] = -30.0 * sign  # on the other side
    found = deviations(run, thresholds)
    assert found is not None
    told = [(each.layer, each.step) for each in found if each.signal == "attention_entropy"]
    assert told == ([(6, at)] if at <= 53 else []), "one for as long as it lasts"


def test_with_looks_now_and_then_it_began_with_one_of_them(thresholds: Thresholds) -> None:
    for at, began in ((104, 104), (97, 104), (96, 96), (120, 120)):  # the windows' first looks are 8, 72 and 136
        run = healthy(201, 220)
        run.columns["attention_entropy"][at:, 6] = 30.0
        run.columns["attention_entropy"][np.arange(220) % 8 != 0] = np.nan
        found = deviations(run, thresholds)
        assert found is not None
        assert [(each.layer, each.step) for each in found] == [(6, began)]


@pytest.mark.parametrize("at", [1, 8, 9, 30, 56])
def test_a_single_step_is_dated_by_itself(thresholds: Thresholds, at: int) -> None:
    run = healthy(201)
    run.columns["layer_transformation"][at, 3] = 3000.0
    found = deviations(run, thresholds)
    assert found is not None
    assert [(each.layer, each.step, each.value) for each in found] == [(3, at, 3000.0)]
    assert run.steps == 60, "the last three steps are no whole window"


def test_the_blamed_layer_shows_its_worst_number_and_where_it_began(thresholds: Thresholds) -> None:
    run = healthy(201)
    run.columns["layer_transformation"][26:28, 3] = 60.0
    run.columns["layer_transformation"][40, 3] = 3000.0
    found = where_it_began(deviations(run, thresholds) or [])
    assert [(each.layer, each.step, each.value) for each in found] == [(3, 26, 3000.0)]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("lasts", [3, 5, 7, 8, 60])  # of an odd length below 8 the recovery follows at once
@pytest.mark.parametrize("at", [17, 30, 40, 49])
def test_a_change_of_attention_that_follows_from_another_layer_is_not_dated_before_it(
    thresholds: Thresholds, at: int, lasts: int, sign: int
) -> None:
    run = healthy(203)
    run.columns["layer_transformation"][at : at + lasts, 5] = 3000.0
    run.columns["attention_entropy"][at : at + lasts, 2] = 30.0 * sign
    run.columns["attention_entropy"][at : at + lasts, 7] = 30.0 * sign
    found = deviations(run, thresholds)
    assert found is not None
    changes = [each for each in found if each.signal == "attention_entropy_change"]
    assert {each.layer for each in changes} == {2, 7}
    assert {min(each.step for each in changes if each.layer == layer) for layer in (2, 7)} == {at}
    assert where_it_began(found)[0].layer == 2, "the shallowest of those that began together"


@given(
    values=st.lists(
        st.one_of(st.floats(-9, 9), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0])), min_size=4, max_size=4
    ),
    low=st.lists(st.floats(0, 2), min_size=4, max_size=4),
    high=st.lists(st.floats(0, 2), min_size=4, max_size=4),
    limit=st.floats(0.5, 4),
    unknown=st.booleans(),
)
def test_beyond_is_where_the_excess_is_above_a_limit(
    values: list[float], low: list[float], high: list[float], limit: float, unknown: bool
) -> None:
    centre = [0.0, 1.0, -1.0, None if unknown else 2.0]
    below = [None if each is None else each - width for each, width in zip(centre, low, strict=True)]
    above = [None if each is None else each + width for each, width in zip(centre, high, strict=True)]
    spread = Spread(location=centre, scale=[1.0] * 4, quantiles=[below, *[centre] * 6, above])
    table = np.array([values])
    with np.errstate(invalid="ignore"):
        excess = spread.excess(table)
    clear = ~(np.abs(excess - limit) < 1e-9)  # on the limit itself rounding decides
    assert (spread.beyond(table, limit) == (excess > limit))[clear].all()


@pytest.mark.parametrize("shape", [(), (3,)], ids=["steps", "layers"])
@given(steps=st.integers(0, 40), every=st.integers(1, 4), gap=st.integers(0, 60))
def test_windows_are_eight_steps_on_which_there_was_something_to_see(
    shape: tuple[int, ...], steps: int, every: int, gap: int
) -> None:
    values = np.random.default_rng(steps).normal(size=(steps, *shape))
    values[np.arange(steps) % every != 0] = np.nan
    if gap < steps and shape:
        values[gap, 1], values[gap // 2, 2] = np.nan, np.inf  # two layers without a number
    starts, medians = windows(values)
    values[np.isinf(values)] = np.nan
    seen = [step for step in range(1, steps) if np.isfinite(values[step]).any()]
    expected = [seen[at : at + 8] for at in range(0, len(seen) - 7, 8)]
    assert starts.tolist() == [window[0] for window in expected]
    assert medians.shape == (len(expected), *shape)
    for window, found in zip(expected, medians, strict=True):
        assert np.allclose(found, np.nanmedian(values[window], axis=0), rtol=0, atol=1e-12)


def test_the_change_of_attention_is_that_of_the_last_eight_steps_over_the_eight_before() -> None:
    run = healthy(204)
    entropy = run.columns["attention_entropy"]
    entropy[40, 2] = np.nan
    change = layer_signals(run, ["attention_entropy_change"])["attention_entropy_change"]
    assert change.shape == entropy.shape
    assert np.isnan(change[:16]).all(), "the first step does not count"
    for layer in range(LAYERS):
        for step in range(16, run.steps):
            values = [float(value) for value in entropy[step - 15 : step + 1, layer]]
            expected = abs(math.fsum(values[8:]) / 8 - math.fsum(values[:8]) / 8)
            assert change[step, layer] == pytest.approx(expected, abs=1e-12, nan_ok=True)
            assert np.isnan(change[step, layer]) == (layer == 2 and 40 <= step < 56)
    short = dataclasses.replace(run, tokens=run.tokens[:16], columns={"attention_entropy": entropy[:16]})
    assert np.isnan(layer_signals(short, ["attention_entropy_change"])["attention_entropy_change"]).all()


def test_a_change_of_attention_that_stays_within_what_is_usual_is_told_by_the_change() -> None:
    """Each run has a level of its own, and this one goes from the lowest of them to the highest."""
    levels = np.linspace(-1, 1, 21)
    runs = [healthy(seed) for seed in range(21)]
    for run, level in zip(runs, levels, strict=True):
        run.columns["attention_entropy"] += level
    thresholds = known(runs)
    run = healthy(205)
    run.columns["attention_entropy"][:30, 5] -= 1
    run.columns["attention_entropy"][30:, 5] += 1
    blame = judged(run, thresholds).blame
    assert blame is not None
    assert [(each.layer, each.reason) for each in blame] == [(5, "attention spread changed unusually")]
    assert blame[0].evidence["step"] == 30
    seldom = dataclasses.replace(run, columns=dict(run.columns))
    seldom.columns["attention_entropy"] = np.where(
        np.arange(run.steps)[:, None] % 2, np.nan, run.columns["attention_entropy"]
    ).astype(np.float32)
    assert judged(seldom, thresholds).blame == (), "attention was not looked at on each step"


def test_what_follows_a_value_that_was_not_finite_is_not_judged(thresholds: Thresholds) -> None:
    run = healthy(202)
    run.columns["hidden_nan"][20:, 5:] = 1
    run.columns["layer_transformation"][20:, :] = 50.0
    blame = judged(run, thresholds).blame
    assert blame is not None
    assert [(each.layer, each.reason) for each in blame] == [(5, "values not finite")]


def test_windows_leave_out_the_first_step_and_those_that_nobody_looked_at() -> None:
    values = np.full((30, 2), np.nan)
    values[::3] = np.arange(10)[:, None] + np.array([0.0, 100.0])
    starts, medians = windows(values)
    assert starts.tolist() == [3]
    assert medians.tolist() == [[4.5, 104.5]]


# --- compound signals --------------------------------------------------------------------------------------------


def names(run: Run, thresholds: Thresholds = DEFAULT) -> list[str]:
    return [signal.name for signal in judge_compound(run, thresholds)[0]]


def column(before: float, after: float, at: int = 40, steps: int = 60) -> Any:
    return np.where(np.arange(steps) < at, before, after)


def test_confusion_counts_only_where_entropy_and_margin_are_high_at_the_same_step() -> None:
    both = np.isin(np.arange(60), [30, 31, 33, 36])
    run = make_run(60, entropy=np.where(both, 5.0, 1.0), margin=np.where(both, 0.4, 0.1))
    (signal,), absent = judge_compound(run)
    assert (signal.name, signal.severity) == ("confident_confusion", 0.5)
    assert signal.evidence == {
        "step": 36,
        "steps": 4,
        "threshold": 4,
        "entropy_threshold": 4.0,
        "threshold_source": "rough",
    }
    assert absent == {"context_loss": "the model has no baseline profile"}
    assert names(make_run(60, entropy=np.where(both, 5.0, 1.0), margin=np.where(both, 0.1, 0.9))) == []


def test_degeneration_needs_all_three_signals() -> None:
    worse: dict[str, Any] = {
        "entropy": column(1.0, 4.0, 44),
        "surprisal": column(1.0, 3.5, 44),
        "margin": column(0.6, 0.1, 44),
    }
    assert names(make_run(60, **worse)) == ["degenerating_generation"]
    for name in worse:
        assert names(make_run(60, **{key: value for key, value in worse.items() if key != name})) == []
    assert names(make_run(47, **{key: value[:47] for key, value in worse.items()})) == []


@pytest.mark.parametrize(
    ("entropy", "margin", "steps", "told"),
    [(4.0, 0.4, 4, False), (4.1, 0.4, 4, True), (5.0, 0.29, 4, False), (5.0, 0.31, 4, True), (5.0, 0.4, 3, False)],
)
def test_confusion_around_its_thresholds(entropy: float, margin: float, steps: int, told: bool) -> None:
    both = np.isin(np.arange(60), [30, 31, 33, 36][:steps])
    run = make_run(60, entropy=np.where(both, entropy, 1.0), margin=np.where(both, margin, 0.1))
    assert names(run) == (["confident_confusion"] if told else [])


@pytest.mark.parametrize(
    ("entropy", "surprisal", "margin", "told"),
    [
        (2.55, 2.05, 0.29, True),
        (2.45, 2.05, 0.29, False),
        (2.55, 1.95, 0.29, False),
        (2.55, 2.05, 0.31, False),
    ],
)
def test_degeneration_around_its_thresholds(entropy: float, surprisal: float, margin: float, told: bool) -> None:
    columns = {
        "entropy": column(1.0, entropy, 44),
        "surprisal": column(1.0, surprisal, 44),
        "margin": column(0.6, margin, 44),
    }
    assert names(make_run(60, **columns)) == (["degenerating_generation"] if told else [])


def test_the_prompt_is_lost_where_attention_leaves_it_while_entropy_is_high(profile: Profile) -> None:
    thresholds = dataclasses.replace(DEFAULT, profile=profile)
    run = healthy(300)
    run.input_tokens = 40
    known = fit_profile([dataclasses.replace(healthy(seed), input_tokens=40) for seed in range(40)])
    thresholds = dataclasses.replace(DEFAULT, profile=known)
    assert names(run, thresholds) == []
    run.columns["attention_mass_prompt"][40:] = 0.001
    run.columns["entropy"][40:] = 0.5
    assert names(run, thresholds) == [], "attention may leave the prompt"
    run.columns["entropy"][40:] = 7.0
    signal = judge_compound(run, thresholds)[0][0]
    assert signal.name == "context_loss"
    for distance, told in ((-0.02, True), (0.02, False)):
        limits = dataclasses.replace(thresholds, context_excess=signal.evidence["excess"] + distance)
        assert ("context_loss" in names(run, limits)) == told
    assert 33 <= signal.evidence["step"] <= 41


def test_why_it_is_not_told_whether_the_prompt_was_lost(profile: Profile) -> None:
    def why(run: Run, fitted: Profile) -> str:
        return judge_compound(run, dataclasses.replace(DEFAULT, profile=fitted))[1]["context_loss"]

    runs = [dataclasses.replace(healthy(seed), input_tokens=40) for seed in range(40)]
    fitted = fit_profile(runs)
    assert why(dataclasses.replace(runs[0], input_tokens=4), fitted) == "the prompt is too short"
    unmeasured = {name: each for name, each in runs[0].columns.items() if not name.startswith("attention_mass")}
    assert why(dataclasses.replace(runs[0], columns=unmeasured), fitted) == "attention to the prompt was not measured"
    signals = {name: each for name, each in fitted.signals.items() if name != "prompt_focus"}
    less = fitted.model_copy(update={"signals": signals})
    assert why(runs[0], less) == "the profile does not know attention to the prompt"
    short = {name: each[:8] for name, each in runs[0].columns.items()}
    cut = dataclasses.replace(runs[0], tokens=runs[0].tokens[:8], columns=short)
    assert why(cut, fitted) == "too few steps to compare"
