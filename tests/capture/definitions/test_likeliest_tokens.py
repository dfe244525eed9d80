"""The likeliest tokens against their float64 definition, and the rule of ties, in every backend of the CPU."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from opentelemetry_instrumentation_corevital._internal.clock import Clock
from opentelemetry_instrumentation_corevital.capture.backends.backend import Backend
from opentelemetry_instrumentation_corevital.capture.backends.batched_backend import BatchedBackend
from opentelemetry_instrumentation_corevital.capture.backends.torch_backend import TorchBackend
from opentelemetry_instrumentation_corevital.capture.collector.presence import Presence
from opentelemetry_instrumentation_corevital.capture.collector.step import Step
from opentelemetry_instrumentation_corevital.capture.definitions.likeliest_tokens import block_maxima, largest
from opentelemetry_instrumentation_corevital.capture.definitions.logits import TOPK_MASS_TOKENS
from opentelemetry_instrumentation_corevital.capture.row.host_transfer import HostRows
from opentelemetry_instrumentation_corevital.capture.row.layout import alternatives_of
from opentelemetry_instrumentation_corevital.catalogue.alternative_names import RANKS
from opentelemetry_instrumentation_corevital.run import Alternatives
from tests.support.alternatives_reference import alternatives_reference

ODD = st.lists(st.tuples(st.integers(0, 2999), st.sampled_from([math.nan, math.inf, -math.inf, -0.0])), max_size=30)
LEVELS = st.sampled_from([2, 12, 10**6])


def measured(logits: Tensor) -> list[Alternatives]:
    """Return what every backend says of the rows of a step."""
    presence = Presence(0, RANKS)
    backends: list[Backend] = [TorchBackend(presence), BatchedBackend(presence, HostRows(Clock()))]
    found = []
    for backend in backends:
        step = Step(0, logits, edited=True)
        backend.measure(step)
        step.choose(torch.zeros(len(logits), dtype=torch.int64), torch.zeros(len(logits), dtype=torch.bool))
        row = backend.row(step)
        backend.finish()
        alternatives = alternatives_of(row.numpy(), presence.layout)
        assert alternatives is not None
        found.append(alternatives)
    return found


def assert_equal(logits: Tensor) -> None:
    for found in measured(logits):
        assert found.tokens is not None
        assert (found.probabilities.dtype, found.tokens.dtype) == (np.float32, np.int32)
        for row, values in enumerate(logits.double().tolist()):
            probabilities, tokens = alternatives_reference(values)
            assert found.tokens[row].tolist() == tokens
            np.testing.assert_allclose(found.probabilities[row], probabilities, rtol=2e-6, atol=1e-7)


def drawn(size: int, seed: int, levels: int, odd: list[tuple[int, float]]) -> Tensor:
    """Return two rows of logits, with many ties where there are few levels; the second one has odd values, too."""
    logits = torch.randint(0, levels, (2, size), generator=torch.Generator().manual_seed(seed)).float() * (20 / levels)
    for place, value in odd:
        logits[1, place % size] = value
    return logits


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1), levels=LEVELS, odd=ODD, transposed=st.booleans())
@settings(max_examples=150, deadline=None)
def test_they_equal_their_definition(
    size: int, seed: int, levels: int, odd: list[tuple[int, float]], transposed: bool
) -> None:
    logits = drawn(size, seed, levels, odd)
    assert_equal(logits.t().contiguous().t() if transposed else logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_large_vocabulary(dtype: torch.dtype) -> None:
    logits = torch.randn(1, 128_256, generator=torch.Generator().manual_seed(3)) * 4
    assert_equal(logits.to(dtype).float())


def test_of_equal_logits_the_lower_id_is_first() -> None:
    logits = torch.zeros(1, 5000)
    logits[0, [4999, 4000, 70, 69, 2000, 2001, 64]] = 3.0
    assert all(
        found.tokens is not None and found.tokens[0].tolist() == [64, 69, 70, 2000, 2001] for found in measured(logits)
    )


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1), levels=LEVELS, odd=ODD, transposed=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_largest_logits_are_found_block_by_block(
    size: int, seed: int, levels: int, odd: list[tuple[int, float]], transposed: bool
) -> None:
    logits = drawn(size, seed, levels, odd)
    logits = logits.t().contiguous().t() if transposed else logits
    count = min(TOPK_MASS_TOKENS, size)
    found, expected = largest(logits, count, block_maxima(logits, count)), logits.topk(count, dim=-1).values
    assert torch.equal(found.nan_to_num(-1.0), expected.nan_to_num(-1.0))
    assert torch.equal(found.isnan(), expected.isnan())
