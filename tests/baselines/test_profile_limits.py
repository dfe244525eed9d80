"""What a profile promises: the limit of its runs, and profiles that promise nothing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital.baselines.lookup import file_name, profiles_folder
from opentelemetry_instrumentation_corevital.baselines.profile_limits import (
    limit_of_all,
    limit_of_profile,
    without_strange,
)
from opentelemetry_instrumentation_corevital.baselines.run_numbers import RULE_VERSION, limit_of, promised_rate
from opentelemetry_instrumentation_corevital.calibration import (
    Profile,
    ProfileError,
    Profiles,
    fit_profile,
    read_profile,
    write_profile,
)
from opentelemetry_instrumentation_corevital.config import Settings
from opentelemetry_instrumentation_corevital.emission.judgements import default_judgements
from opentelemetry_instrumentation_corevital.run import Run
from tests.support.healthy_runs import healthy
from tests.support.known_models import is_beyond

OF_LAYERS = ("mid_layer_anomaly_detected", "attention_collapse_detected")


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile([dataclasses.replace(healthy(seed), input_tokens=40) for seed in range(60)])


def as_version_1(data: dict[str, Any]) -> dict[str, Any]:
    """Return a profile's JSON as CoreVital wrote it before there were numbers of runs."""
    data = json.loads(json.dumps(data))
    data["version"] = 1
    del data["runs"]
    for part in ("signals", "layers"):
        for spreads in data[part].values():
            del spreads["maxima"]
    return data


def broken() -> Run:
    run = dataclasses.replace(healthy(500), input_tokens=40)
    run.columns["hidden_l2_norm"][:, 4:] *= 16
    return run


def judged(run: Run, file: Path) -> Run:
    for judgement in default_judgements(Settings(baseline=str(file))):
        judgement.on_run_ending(INVALID_SPAN, run)
    return run


def written(tmp_path: Path, data: dict[str, Any]) -> Path:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(data))
    return file


def test_the_limit_is_the_conformal_quantile_of_the_numbers_in_the_file(profile: Profile, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    write_profile(profile, file)
    found = Profiles(str(file)).of(healthy(0).model)
    numbers = json.loads(file.read_text())["runs"]
    assert numbers["rule"] == RULE_VERSION
    assert numbers["tokens"] == [60] * 60
    assert found.reason is None
    assert found.limit is not None
    assert found.limit.value == limit_of(np.array(numbers["values"])) == max(numbers["values"])
    assert not any(is_beyond(healthy(seed), found.limit) for seed in range(60))
    assert is_beyond(broken(), found.limit)


def test_a_profile_with_numbers_stands_for_itself(profile: Profile, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    write_profile(profile, file)
    run = judged(broken(), file)
    assert run.health is not None
    assert run.health.mid_layer_anomaly_detected is True
    assert run.blame is not None
    assert run.blame[0].layer == 4
    sink = dataclasses.replace(healthy(501), input_tokens=40)
    sink.columns["hidden_l2_norm"][40, :] *= 1.9  # far out by the run's own steps, and the profile is what is asked
    known = [dataclasses.replace(healthy(seed), input_tokens=40) for seed in range(60)]
    for seed, each in enumerate(known):
        each.columns["hidden_l2_norm"][10 + seed % 30, :] *= 1.9
    write_profile(fit_profile(known), file)
    sink = judged(sink, file)
    assert sink.health is not None
    assert sink.health.mid_layer_anomaly_detected is False, "healthy runs of this model do so"
    assert not sink.warnings


def test_no_flag_of_layers_rests_on_a_profile_of_version_1(profile: Profile, tmp_path: Path) -> None:
    file = written(tmp_path, as_version_1(profile.model_dump(mode="json", exclude_none=True)))
    read = read_profile(file)
    assert (read.version, read.runs) == (1, None)
    assert read.layers["log2_gain"].windows == profile.layers["log2_gain"].windows
    run = broken()
    run.columns["attention_mass_prompt"][40:], run.columns["entropy"][40:] = 0.001, 7.0
    run = judged(run, file)
    assert run.health is not None
    assert [getattr(run.health, flag) for flag in OF_LAYERS] == [None, None]
    assert [run.absent[flag] for flag in OF_LAYERS] == ["no_baseline", "no_baseline"]
    assert "`corevital calibrate`" in run.absent["profile"]
    assert "format 1" in run.absent["profile"]
    assert run.blame == ()
    assert run.baseline is not None
    assert (run.baseline.source, run.baseline.runs) == ("calibrated", 60)
    assert "context_loss" in run.warnings, "what is usual is still known"


def test_a_model_of_layers_that_nobody_has_costs_no_memory(profile: Profile, tmp_path: Path) -> None:
    data = profile.model_dump(mode="json", exclude_none=True) | {"layers": {}}
    data["model"]["layer_count"] = 10**12
    limit, _ = limit_of_profile(read_profile(written(tmp_path, data)))
    assert limit is not None
    assert not is_beyond(broken(), limit), "no layer is known"


def changed(data: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**data, "runs": {**data["runs"], **values}}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rule": RULE_VERSION + 1}, "another rule"),
        ({"values": [1.0] * 49, "tokens": [60] * 49, "groups": [0] * 49}, "49 runs, fewer than 50"),
    ],
    ids=["another rule", "too few"],
)
def test_numbers_that_promise_nothing_are_said(
    profile: Profile, tmp_path: Path, values: dict[str, Any], says: str
) -> None:
    file = written(tmp_path, changed(profile.model_dump(mode="json", exclude_none=True), **values))
    run = judged(broken(), file)
    assert says in run.absent["profile"]
    assert "`corevital calibrate`" in run.absent["profile"]
    assert run.absent["mid_layer_anomaly_detected"] == "no_baseline"
    assert limit_of_profile(read_profile(file))[0] is None


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"values": [1.0] * 59}, "runs"),
        ({"values": [-1.0] + [1.0] * 59}, "runs.values"),
        ({"values": ["x"] + [1.0] * 59}, "runs.values"),
        ({"tokens": [0] * 60}, "runs.tokens"),
        ({"more": 1}, "runs.more"),
    ],
)
def test_damaged_numbers_are_told_with_their_place(
    profile: Profile, tmp_path: Path, values: dict[str, Any], place: str
) -> None:
    file = written(tmp_path, changed(profile.model_dump(mode="json", exclude_none=True), **values))
    with pytest.raises(ProfileError, match=place) as error:
        read_profile(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("version", [0, 4, True, "2", None])
def test_other_versions_are_refused(profile: Profile, tmp_path: Path, version: Any) -> None:
    file = written(tmp_path, {**profile.model_dump(mode="json", exclude_none=True), "version": version})
    with pytest.raises(ProfileError, match="this CoreVital reads 1 to 3; make it anew with `corevital calibrate`"):
        read_profile(file)


def test_a_profile_of_the_profiles_folder_without_a_limit_is_not_replaced(profile: Profile) -> None:
    file = profiles_folder() / file_name("org/model")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(as_version_1(profile.model_dump(mode="json", exclude_none=True))))
    found = Profiles().of(healthy(0).model)
    assert (found.source, found.limit, found.pupil) == ("calibrated", None, None)
    assert found.profile is not None


def test_whoever_changes_what_a_number_is_raises_the_rule() -> None:
    """Numbers in files are compared with those of later runs: if this one changes, `RULE_VERSION` has to."""
    runs = fit_profile([healthy(seed) for seed in range(12)]).runs
    assert runs is not None
    assert (RULE_VERSION, runs.values[0]) == (2, pytest.approx(1.20236, rel=1e-3))


@pytest.mark.parametrize(("count", "strange"), [(60, 1), (233, 1), (233, 2), (600, 3)])
def test_a_few_strange_runs_do_not_set_the_limit(count: int, strange: int) -> None:
    usual = np.random.default_rng(count).gamma(4, 0.2, count - strange)
    numbers = np.random.default_rng(1).permutation([*usual, *(2.5 * max(usual) * np.arange(1, strange + 1))])
    assert without_strange(numbers).tolist() == sorted(usual)
    assert limit_of_all(numbers) == max(usual)


def test_what_is_frequent_or_not_so_far_out_is_usual() -> None:
    usual = np.random.default_rng(5).gamma(4, 0.2, 230)
    for others in ([9.0, 9.5, 10.0], [1.9 * max(usual)], [1.9 * max(usual), 3.7 * max(usual)]):
        numbers = np.array([*usual, *others])
        assert len(without_strange(numbers)) == len(numbers)
        assert limit_of_all(numbers) == limit_of(numbers) == max(numbers)


@pytest.mark.parametrize("count", [50, 120, 200, 500])
def test_with_strange_runs_left_out_the_promise_stands(count: int) -> None:
    """One run in 400 is strange: those of the calibration do not count, those that come later are beyond."""
    draw = np.random.default_rng(count)

    def numbers(runs: int) -> Any:
        return draw.gamma(4, 0.2, runs) * np.where(draw.random(runs) < 1 / 400, 8, 1)

    beyond = [(numbers(100) > (limit_of_all(numbers(count)) or 0)).mean() for _ in range(1500)]
    assert np.mean(beyond) < 1.6 * promised_rate(count)


def test_of_too_few_numbers_there_is_no_limit() -> None:
    assert limit_of_all(np.array([])) is None
    assert limit_of_all(np.array([1.0, 9.0])) is None
