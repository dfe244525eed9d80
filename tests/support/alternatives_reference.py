"""The likeliest tokens of a step in float64, one token at a time."""

import math
from collections.abc import Sequence

import numpy as np

from opentelemetry_instrumentation_corevital.catalogue.alternative_names import RANKS
from opentelemetry_instrumentation_corevital.run import Alternatives


def alternatives_reference(logits: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return probabilities and ids of the five likeliest tokens of raw logits; see `run.Alternatives`."""
    if any(math.isnan(x) or x == math.inf for x in logits) or max(logits) == -math.inf:
        return [math.nan] * RANKS, [-1] * RANKS
    top = max(logits)
    total = math.fsum(math.exp(x - top) for x in logits)
    order = sorted(
        (token for token, x in enumerate(logits) if x > -math.inf), key=lambda token: (-logits[token], token)
    )
    chosen = order[:RANKS]
    missing = RANKS - len(chosen)
    return [math.exp(logits[t] - top) / total for t in chosen] + [0.0] * missing, chosen + [-1] * missing


def assert_alternatives(found: Alternatives | None, logits: Sequence[Sequence[float]], tolerance: float) -> None:
    """Hold the alternatives of a run's steps against its raw logits [steps, vocabulary].

    Logits that differ by less than rounding may change places, so that a token is held against its own probability.
    """
    assert found is not None
    assert found.tokens is not None
    assert found.probabilities.shape == found.tokens.shape == (len(logits), RANKS)
    for step, values in enumerate(logits):
        probabilities, _ = alternatives_reference(values)
        top = max(values)
        total = math.fsum(math.exp(x - top) for x in values)
        own = [math.exp(values[token] - top) / total for token in found.tokens[step].tolist()]
        for each in (probabilities, own):
            np.testing.assert_allclose(found.probabilities[step], each, rtol=tolerance, atol=tolerance)
        assert len(set(found.tokens[step].tolist())) == RANKS
