"""Every signal against its slow float64 definition, on ordinary, adversarial and non-finite logits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital._internal.clock import Clock
from opentelemetry_instrumentation_corevital.capture.backends.batched_backend import BatchedBackend
from opentelemetry_instrumentation_corevital.capture.backends.torch_backend import TorchBackend
from opentelemetry_instrumentation_corevital.capture.collector.presence import Presence
from opentelemetry_instrumentation_corevital.capture.collector.step import Step
from opentelemetry_instrumentation_corevital.capture.definitions.logits import (
    logit_signals,
    surprisal,
)
from opentelemetry_instrumentation_corevital.capture.row.host_transfer import HostRows
from opentelemetry_instrumentation_corevital.run import COLUMNS, LOGIT_SIGNALS
from tests.support.reference import reference_signals

FLOAT32_MAX = float(np.finfo(np.float32).max)

ordinary = st.floats(-30, 30, width=32)
huge = st.floats(-FLOAT32_MAX, FLOAT32_MAX, width=32, allow_subnormal=False)
SMALL = float(np.float32(1e-30))
tiny = st.floats(-SMALL, SMALL, width=32)
any_float = st.floats(width=32, allow_nan=True, allow_infinity=True)
rows = st.one_of(
    st.lists(ordinary, min_size=1, max_size=40),
    st.lists(huge, min_size=1, max_size=20),
    st.lists(tiny, min_size=1, max_size=20),
    st.lists(any_float, min_size=1, max_size=20),
    st.builds(lambda value, size: [value] * size, ordinary, st.integers(1, 40)),
    st.builds(
        lambda size, hot, gap: [gap if i == hot % size else 0.0 for i in range(size)],
        st.integers(1, 40),
        st.integers(0, 39),
        st.floats(0, 1000, width=32),
    ),
    st.lists(st.sampled_from([0.0, 1.0, -math.inf]), min_size=1, max_size=20),
)


def measured(row: list[float], token: int) -> dict[str, float]:
    logits = torch.tensor([row], dtype=torch.float32)
    one, batched = TorchBackend(Presence(0)), BatchedBackend(Presence(0), HostRows(Clock()))
    rows = []
    for backend in (one, batched):
        step = Step(0, logits, edited=True)
        backend.measure(step)
        step.choose(torch.tensor([token]), torch.tensor([False]))
        rows.append(backend.row(step))
        backend.finish()
    assert torch.equal(*(row.nan_to_num(-1.0) for row in rows))
    return dict(zip(COLUMNS, rows[0][0].tolist(), strict=False))


def assert_equal(found: dict[str, float], expected: dict[str, float]) -> None:
    for name in COLUMNS:
        want = expected[name]
        if name in LOGIT_SIGNALS:
            want = math.inf if want > FLOAT32_MAX else want  # what float32 cannot hold
        if math.isnan(want):
            assert math.isnan(found[name]), (name, found[name])
        elif math.isinf(want):
            assert found[name] == want, (name, found[name])
        else:
            assert found[name] == pytest.approx(want, rel=2e-6, abs=2e-6), name


@given(row=rows, position=st.integers(0, 39))
@settings(max_examples=1500, deadline=None)
def test_signals_equal_their_definition(row: list[float], position: int) -> None:
    token = position % len(row)
    expected = reference_signals(row, token)
    assert_equal(measured(row, token), expected)


@pytest.mark.parametrize("vocabulary", [32_000, 128_256, 262_144])
@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0, 12.0])
def test_large_vocabularies_keep_their_precision(vocabulary: int, spread: float) -> None:
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(3)) * spread
    token = int(logits.argsort()[vocabulary // 2])
    expected = reference_signals([float(x) for x in logits], token)
    found = measured(logits.tolist(), token)
    for name in LOGIT_SIGNALS:
        assert found[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), name


@given(row=st.lists(ordinary, min_size=2, max_size=30), shift=st.floats(-50, 50, width=32))
@settings(deadline=None)
def test_adding_a_constant_to_all_logits_changes_nothing(row: list[float], shift: float) -> None:
    plain, shifted = measured(row, 0), measured([x + shift for x in row], 0)
    for name in LOGIT_SIGNALS:
        assert plain[name] == pytest.approx(shifted[name], rel=1e-3, abs=1e-3)


def test_rows_do_not_influence_each_other() -> None:
    logits = torch.randn(3, 50)
    logits[1, 7] = math.nan
    together = logit_signals(logits)
    alone = logit_signals(logits[2:])
    assert together.entropy[2] == alone.entropy[0]
    assert torch.isnan(together.entropy[1])
    assert together.nan.tolist() == [0, 1, 0]


def test_low_precision_logits_are_measured_in_float32() -> None:
    logits = torch.randn(2, 64)
    half = logit_signals(logits.bfloat16())
    assert half.entropy.dtype == torch.float32
    assert torch.equal(half.entropy, logit_signals(logits.bfloat16().float()).entropy)


def test_editing_the_logits_in_place_afterwards_does_not_change_the_surprisal() -> None:
    logits = torch.randn(1, 20)
    expected = reference_signals(logits[0].tolist(), 4)["surprisal"]
    signals = logit_signals(logits)
    logits.fill_(-math.inf)
    assert surprisal(signals, torch.tensor([4])).item() == pytest.approx(expected, rel=1e-5)
