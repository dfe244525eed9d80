"""Which runs say what is usual, and why others are dropped."""

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.assessment.early_warning import judge_early_warning
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.calibration import fit_profile
from opentelemetry_instrumentation_corevital.calibration.healthy import Tally, why_dropped, without_the_rest
from opentelemetry_instrumentation_corevital.run import Run
from tests.support.healthy_runs import healthy

LOOP = np.tile(np.arange(6), 20)


def judged(run: Run) -> Run:
    run.health, run.early_warning = judge_health(run), judge_early_warning(run)
    return run


def looping(steps: int, loop: slice) -> Run:
    run = healthy(1, steps)
    run.tokens[loop] = LOOP[: len(run.tokens[loop])]
    return judged(run)


def nan() -> Run:
    run = healthy(2)
    run.columns["hidden_nan"][20:, 3] = 1
    return judged(run)


def infinite_logits() -> Run:
    run = healthy(3)
    run.columns["logits_posinf"][5] = 1
    return judged(run)


def failed() -> Run:
    run = nan()
    run.error_type = "RuntimeError"
    return run


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (judged(healthy(0)), None),
        (looping(60, slice(10, 60)), "loop"),
        (looping(200, slice(20, 100)), "loop"),
        (nan(), "not finite"),
        (infinite_logits(), "not finite"),
        (judged(healthy(0, 8)), "too short"),
        (judged(healthy(0, 9)), None),
        (failed(), "error"),
    ],
    ids=["healthy", "loop", "a loop that it left", "nan", "inf", "8 tokens", "9 tokens", "error first"],
)
def test_a_run_is_dropped_for_one_reason(run: Run, reason: str | None) -> None:
    assert why_dropped(run) == reason


def test_what_is_kept_of_a_run_makes_the_same_profile() -> None:
    runs = [healthy(seed) for seed in range(20)]
    kept = [without_the_rest(run) for run in runs]
    assert fit_profile(kept) == fit_profile(runs)
    assert sum(len(run.columns) for run in kept) < 0.6 * sum(len(run.columns) for run in runs)
    assert not any(np.shares_memory(kept[0].columns[name], runs[0].columns[name]) for name in kept[0].columns)


@pytest.mark.parametrize(
    ("kept", "steps", "dropped", "missing"),
    [
        (60, 100, 0, 0),
        (40, 100, 0, 10),
        (40, 100, 10, 13),  # of five one is dropped
        (50, 20, 0, 50),  # runs enough, tokens not
        (50, 20, 50, 100),
        (0, 0, 9, None),
    ],
)
def test_it_knows_how_many_more_are_needed(kept: int, steps: int, dropped: int, missing: int | None) -> None:
    tally, run = Tally(), healthy(0, max(steps, 1))
    for _ in range(kept):
        tally.keep(run)
    for _ in range(dropped):
        tally.drop("loop")
    assert tally.missing() == missing
    assert tally.tried == kept + dropped
    assert tally.tokens == kept * steps
    assert tally.told() == (f"loop {dropped}" if dropped else "none")
