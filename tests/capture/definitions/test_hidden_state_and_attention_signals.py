"""Signals of hidden states and attention rows against their float64 definitions, on numbers made to be difficult."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.capture.definitions.attention_weights import (
    AttentionRow,
    attention_row,
    over_heads,
    visible_keys,
)
from opentelemetry_instrumentation_corevital.capture.definitions.hidden_states import cosine, hidden_statistics
from opentelemetry_instrumentation_corevital.run import HIDDEN_SIGNALS, SELF_SIGNALS
from tests.support.reference import cosine_reference, head_reference, hidden_reference, layer_reference

SCORES = st.floats(-60, 60, width=32)


def softmax(scores: list[float], learned: float | None = None) -> tuple[list[float], float]:
    """Return the weights of scores and of a learned sink, in float64."""
    top = max([*scores, *([] if learned is None else [learned])])
    weights = [math.exp(score - top) for score in scores]
    extra = 0.0 if learned is None else math.exp(learned - top)
    total = math.fsum(weights) + extra
    return [weight / total for weight in weights], extra / total


def row_of(
    scores: list[list[float]], visible: list[bool] | None, generated: int, learned: float | None = None
) -> AttentionRow:
    values = torch.tensor([scores], dtype=torch.float32)
    mask = None if visible is None else torch.tensor([visible])
    keys = visible_keys(mask, batch=1, keys=len(scores[0]), generated=generated, device=values.device)
    return attention_row(values, keys, None if learned is None else torch.full((len(scores),), learned))


def assert_row(row: AttentionRow, heads: list[list[float]], generated: int, learned: float = 0.0) -> None:
    for head, weights in enumerate(heads):
        for name, expected in head_reference(weights, generated, learned).items():
            found = float(getattr(row, name)[0, head])
            if name == "collapsed" and math.isnan(found) and math.fsum(weights[4:]) < 1e-30:
                continue  # no weight is left in float32
            assert found == pytest.approx(expected, rel=2e-5, abs=2e-5, nan_ok=True), (name, head)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_attention_rows_equal_their_definition(data: st.DataObject) -> None:
    keys = data.draw(st.integers(1, 40))
    heads = data.draw(st.integers(1, 3))
    scores = data.draw(st.lists(st.lists(SCORES, min_size=keys, max_size=keys), min_size=heads, max_size=heads))
    visible = data.draw(st.none() | st.lists(st.booleans(), min_size=keys, max_size=keys))
    if visible is not None:
        visible[-1] = True  # a query sees itself
    seen = [index for index in range(keys) if visible is None or visible[index]]
    generated = data.draw(st.integers(0, keys))
    learned = data.draw(st.none() | SCORES)
    found = row_of(scores, visible, generated, learned)
    rounded = [[float(np.float32(score)) for score in head] for head in scores]
    rows = [softmax([head[index] for index in seen], learned) for head in rounded]
    for head, (weights, extra) in enumerate(rows):
        single = AttentionRow(*(signal[:, head : head + 1] for signal in found))
        assert_row(single, [weights], generated, extra)
    masses = found.sink + found.prompt + found.generated
    assert torch.allclose(masses, torch.ones_like(masses), atol=2e-6)


@pytest.mark.parametrize("keys", [5000, 40000])
def test_long_rows_keep_their_precision(keys: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(2, keys, generator=generator) * 4).tolist()
    assert_row(row_of(scores, None, 900), [softmax(head)[0] for head in scores], 900)


def test_what_a_hidden_key_scores_does_not_matter() -> None:
    plain = row_of([[1.0, 2.0, 3.0, 0.5]], [True, False, True, True], 1)
    for other in (math.nan, math.inf, -math.inf, 3e38):
        found = row_of([[1.0, other, 3.0, 0.5]], [True, False, True, True], 1)
        assert all(torch.equal(a, b) or (a.isnan() & b.isnan()).all() for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_that_is_not_finite_has_no_signals(bad: float) -> None:
    row = row_of([[1.0] * 13 + [bad], [1.0] * 14], None, 0)
    for name, signal in row._asdict().items():
        assert math.isnan(float(signal[0, 0])), name
        assert not math.isnan(float(signal[0, 1])), name


def test_collapsed_heads_are_told_from_heads_that_rest_on_the_sink() -> None:
    resting = [20.0, 0.0, 0.0, 0.0] + [1.0] * 12
    collapsed = [0.0] * 10 + [25.0] + [0.0] * 5
    row = row_of([resting, collapsed], None, 0)
    assert row.collapsed[0].tolist() == [0.0, 1.0]
    assert row.focused[0].tolist() == [1.0, 1.0], "both put more than 0.9 of their weight on one key"


def test_heads_are_reduced_as_defined() -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(3, 1, 5, 30, generator=generator) * 6
    keys = visible_keys(None, batch=1, keys=30, generated=7, device=scores.device)
    found = over_heads(attention_row(scores, keys))
    assert found.keys() == set(SELF_SIGNALS)
    assert all(values.shape == (3, 1) for values in found.values())
    for layer in range(3):
        heads = [softmax(head)[0] for head in scores[layer, 0].tolist()]
        expected = layer_reference(heads, 7)
        for name, values in found.items():
            assert float(values[layer, 0]) == pytest.approx(expected[name], rel=1e-5, abs=1e-5), name


VALUES = st.floats(-(2.0**50), 2.0**50, width=32)


@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=40))
def test_hidden_statistics_equal_their_definition(values: list[float]) -> None:
    found = hidden_statistics(torch.tensor(values, dtype=torch.float32))
    expected = hidden_reference(values)
    scale = max(abs(value) for value in values)
    assert found.keys() < set(HIDDEN_SIGNALS)
    for name, value in found.items():
        assert float(value) == pytest.approx(expected[name], rel=1e-5, abs=1e-6 * scale + 1e-18), name


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_counted(bad: float) -> None:
    found = {name: float(value) for name, value in hidden_statistics(torch.tensor([1.0, bad, 2.0, bad])).items()}
    assert (found["hidden_nan"], found["hidden_inf"]) == ((2, 0) if math.isnan(bad) else (0, 2))
    assert not math.isfinite(found["hidden_l2_norm"])
    assert not math.isfinite(found["hidden_max_abs"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_cosines_equal_their_definition(pairs: list[tuple[float, float]]) -> None:
    left, right = ([float(np.float32(x)) for x in side] for side in zip(*pairs, strict=True))
    found = float(cosine(torch.tensor(left), torch.tensor(right)))
    if max(map(abs, left)) < 1e-15 or max(map(abs, right)) < 1e-15:
        return  # squares leave float32: NaN or anything
    assert found == pytest.approx(cosine_reference(left, right), abs=1e-5)
