"""What must not change a verdict: a constant added to all logits, the order of heads, whether a run is judged live."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.early_warning import (
    EarlyWarningMonitor,
    _steps,
    judge_early_warning,
)
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk
from opentelemetry_instrumentation_corevital.capture.definitions.attention_weights import (
    AttentionRow,
    attention_row,
    over_heads,
    visible_keys,
)
from opentelemetry_instrumentation_corevital.capture.definitions.logits import logit_signals, surprisal
from opentelemetry_instrumentation_corevital.run import SELF_SIGNALS, Run
from tests.support.made_runs import add_layers, make_run

STEPS, VOCABULARY, LAYERS, HEADS = 60, 48, 6, 8


def judged(run: Run) -> Run:
    run.health = judge_health(run)
    run.early_warning = judge_early_warning(run)
    run.risk = judge_risk(run)
    run.blame = judge_blame(run)
    return run


def verdicts(run: Run) -> tuple[object, ...]:
    """Return all that is concluded, without the numbers behind it."""
    judged(run)
    assert run.health is not None
    assert run.early_warning is not None
    assert run.risk is not None
    return (
        run.health.flags(),
        run.health.high_entropy_steps,
        run.early_warning.active,
        run.risk.level,
        [blamed.layer for blamed in run.blame or ()],
    )


def from_logits(logits: torch.Tensor, tokens: torch.Tensor) -> Run:
    """Return the run of logits [T, V] and the tokens that were chosen."""
    signals = logit_signals(logits)
    columns = {name: getattr(signals, name).numpy() for name in ("entropy", "margin", "top1_prob", "topk_mass")}
    counts = {f"logits_{name}": getattr(signals, name).numpy() for name in ("nan", "posinf", "neginf")}
    return make_run(STEPS, tokens=tokens.numpy(), surprisal=surprisal(signals, tokens).numpy(), **columns, **counts)


@given(seed=st.integers(0, 2**31), constant=st.sampled_from([-512.0, -3.0, 0.5, 64.0, 1024.0]), fault=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_constant_added_to_all_logits_changes_no_verdict(seed: int, constant: float, fault: bool) -> None:
    torch.manual_seed(seed)
    # Multiples of 1/64 stay exact when a constant is added in float32.
    sharpness = torch.rand(STEPS, 1) * 6
    logits = (torch.randn(STEPS, VOCABULARY) * sharpness * 64).round() / 64
    if fault:
        logits[seed % STEPS, seed % VOCABULARY] = torch.nan
    tokens = torch.randint(0, VOCABULARY, (STEPS,))
    assert verdicts(from_logits(logits, tokens)) == verdicts(from_logits(logits + constant, tokens))


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_the_order_of_heads_changes_no_verdict(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    keys = visible_keys(None, batch=1, keys=24, generated=8, device=torch.device("cpu"))
    sharpness = torch.rand(STEPS, LAYERS, 1, HEADS, 1, generator=generator) * 40
    scores = torch.randn(STEPS, LAYERS, 1, HEADS, 24, generator=generator) * sharpness
    order = torch.randperm(HEADS, generator=generator)

    def run(scores: torch.Tensor) -> Run:
        row: AttentionRow = attention_row(scores, keys)
        reduced = {name: values[:, :, 0].numpy() for name, values in over_heads(row).items()}
        made = add_layers(make_run(STEPS), LAYERS)
        made.columns |= {name: reduced[name] for name in SELF_SIGNALS}
        return made

    assert verdicts(run(scores)) == verdicts(run(scores[..., order, :]))


@pytest.mark.parametrize("every", [1, 4])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_live_equals_finished_at_every_step(every: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    run = add_layers(
        make_run(
            STEPS,
            tokens=draw.integers(0, 5, STEPS),
            entropy=draw.gamma(2, 1.5, STEPS),
            margin=draw.beta(1, 3, STEPS),
            top1_prob=draw.beta(2, 2, STEPS),
        ),
        LAYERS,
        every=every,
        seed=seed,
    )
    run.columns["hidden_l2_norm"] *= np.where(draw.random((STEPS, LAYERS)) < 0.02, 3, 1).astype(np.float32)
    run.columns["collapsed_head_rate"] *= draw.uniform(0, 8)
    finished = judge_early_warning(run)
    monitor = EarlyWarningMonitor()
    for step, numbers in enumerate(_steps(run)):
        told = monitor.update(numbers)
        assert told.signals == finished.active.get(step, ())
        assert np.float32(told.failure_risk) == finished.failure_risk[step]
        assert np.float32(told.risk_so_far) == finished.risk_so_far[step]
        columns = {name: values[: step + 1] for name, values in run.columns.items()}
        if step % 15 == 14:  # a run that had ended here says the same of all its steps
            short = judge_early_warning(replace(run, tokens=run.tokens[: step + 1], columns=columns))
            assert short.active == {at: names for at, names in finished.active.items() if at <= step}
            assert (short.failure_risk == finished.failure_risk[: step + 1]).all()
    assert monitor.evidence == finished.evidence
