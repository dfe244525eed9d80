"""Policies on CUDA: the same step each time, however far the host is ahead, and no wait but for the step before."""

from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital.policies import BreakReasoning, CoolDown, RollBack, Stop
from opentelemetry_instrumentation_corevital.testing import capture_runs
from tests.support.cuda import cuda, synchronisations
from tests.support.in_memory import instrumented
from tests.support.policies import GREEDY, SAMPLED, acted_on, at, generate, never, once
from tests.support.tiny_models import padded_batch, prompt, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def one() -> dict[str, Any]:
    return cuda({"input_ids": prompt()})


def test_a_repeated_run_stops_at_the_same_step() -> None:
    model = tiny_model().cuda()
    with capture_runs() as telemetry:
        generate(model, one(), tokens=40, **SAMPLED)
    usual = float(np.median(telemetry.runs[0].columns["entropy"][3:]))
    with capture_runs(policies=[Stop(on=lambda event: event.entropy > usual and event.step_index > 2)]) as telemetry:
        for _ in range(20):
            generate(model, one(), tokens=40, **SAMPLED)
    (outcome,) = {(len(run.interventions), tuple(run.tokens.tolist())) for run in telemetry.runs}
    assert outcome[0] == 1


def test_an_armed_policy_adds_no_synchronising_operation() -> None:
    """It waits for the event of the step before, which is none."""
    model = tiny_model().cuda()
    with instrumented(capture="full"):
        plain = synchronisations(model, 20)
    armed = [Stop(on=never), CoolDown(on=never), RollBack(on=never), BreakReasoning(on=never, tokens=[5])]
    with instrumented(capture="full", policies=armed):
        assert synchronisations(model, 20) == plain


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_a_rollback_goes_on_as_the_run_would_have(kernels: str) -> None:
    model = tiny_model().cuda()
    plain = generate(model, one(), **GREEDY)
    with capture_runs(policies=[RollBack(on=once(9), to=4, changes={})], capture="full", kernels=kernels) as telemetry:
        found = generate(model, one(), **GREEDY)
    assert torch.equal(found, plain)
    (run,) = telemetry.runs
    assert run.interventions[0].rollback_mode == "crop"
    assert run.tokens.tolist() == found[0, 6:].tolist()
    assert (np.diff(run.time_ns) > 0).all()
    assert np.flatnonzero(np.isnan(run.columns["hidden_cosine"])).tolist() == [0, 7]


def test_rows_are_stopped_and_forced_on_their_own() -> None:
    model, inputs = tiny_model().cuda(), cuda(padded_batch())
    plain = generate(model, inputs, **SAMPLED)
    policies = [Stop(on=at(9, sequences=[1])), BreakReasoning(on=at(9, sequences=[2]), tokens=[20, 21])]
    found, runs = acted_on(policies, model, inputs, **SAMPLED)
    assert torch.equal(found[:, : 9 + 11], plain[:, : 9 + 11])
    assert [run.steps for run in runs] == [24, 11, 24]
    assert runs[2].tokens[11:13].tolist() == [20, 21]
