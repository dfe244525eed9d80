"""How far out each run of a profile is by the others: the fast way is the slow, obvious one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.baselines.profile_limits import yardstick
from opentelemetry_instrumentation_corevital.baselines.run_numbers import LEVELS, RULE_VERSION, run_number
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows, parts
from opentelemetry_instrumentation_corevital.calibration import fit_profile
from opentelemetry_instrumentation_corevital.calibration.left_out import _quantiles_without
from opentelemetry_instrumentation_corevital.run import HIDDEN_SIGNALS, SELF_SIGNALS, Run
from tests.support.healthy_runs import LAYERS, healthy


def number_by(others: list[Run], run: Run) -> float:
    """Measure a run by a profile that is made of others."""
    found = run_number(parts(run, TableRows(LAYERS)), yardstick(fit_profile(others)))
    assert found is not None
    return found.value


def some_runs(count: int = 24) -> list[Run]:
    runs = [healthy(seed, 40 + seed % 5 * 16) for seed in range(count)]
    for name in SELF_SIGNALS:
        runs[3].columns[name][np.arange(runs[3].steps) % 2 > 0] = np.nan  # attention was looked at now and then
    for name in (*HIDDEN_SIGNALS, *SELF_SIGNALS):
        runs[4].columns[name][:, 2] = np.nan  # a layer that nobody looked at
    return runs


def test_a_runs_number_is_that_by_a_profile_of_the_others() -> None:
    runs = some_runs()
    found = fit_profile(runs).runs
    assert found is not None
    assert found.rule == RULE_VERSION
    assert found.tokens == tuple(run.steps for run in runs)
    assert found.groups == tuple(range(len(runs)))
    for place in range(0, len(runs), 3):
        slow = number_by(runs[:place] + runs[place + 1 :], runs[place])
        assert found.values[place] == pytest.approx(slow, rel=2e-3)
    itself = number_by(runs, runs[3])
    assert found.values[3] > itself * 1.01, "by a profile that it helped to make, it is less far out"


def test_runs_of_a_prompt_do_not_speak_for_each_other() -> None:
    runs = [healthy(seed) for seed in range(20)]
    runs[1] = dataclasses.replace(healthy(0), columns=dict(healthy(0).columns))  # the same answer twice
    runs[0].columns["layer_transformation"][30, 3] = runs[1].columns["layer_transformation"][30, 3] = 4.0
    groups = [number // 2 for number in range(20)]
    apart, together = fit_profile(runs).runs, fit_profile(runs, groups=groups).runs
    assert apart is not None
    assert together is not None
    assert together.groups == tuple(groups)
    assert together.values[0] == pytest.approx(number_by(runs[2:], runs[0]), rel=2e-3)
    assert together.values[0] > 2 * apart.values[0], "the same answer would have made it usual"


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, 7.0, np.nan, np.inf]), min_size=3, max_size=3), min_size=1
    ),
    owners=st.lists(st.integers(0, 3), min_size=30, max_size=30),
)
def test_quantiles_without_an_owner_are_those_of_the_rest(values: list[list[float]], owners: list[int]) -> None:
    table = np.array(values[:30], np.float32)
    whose = np.array(owners[: len(table)])
    found = _quantiles_without(table, whose, 4)
    table[np.isinf(table)] = np.nan
    for owner in range(4):
        for column in range(3):
            rest = table[whose != owner, column].astype(np.float64)
            rest = rest[np.isfinite(rest)]
            slow = np.quantile(rest, LEVELS) if len(rest) else np.full(len(LEVELS), np.nan)
            assert found[owner, :, column] == pytest.approx(slow, nan_ok=True)


def test_there_are_no_numbers_where_nothing_can_be_compared() -> None:
    short = [healthy(seed, 8) for seed in range(40)]
    mixed = fit_profile([*short, *(healthy(seed) for seed in range(40, 45))]).runs
    assert mixed is not None
    assert mixed.groups == tuple(range(40, 45)), "those that have one"
    assert fit_profile([healthy(0, 400)]).runs is None, "nobody else says what is usual"
