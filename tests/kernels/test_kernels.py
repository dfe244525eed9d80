"""Every number of the kernels equals that of `signals`: every shape, dtype and mask, also where values are not finite.

Tolerance: 2e-5, relative or absolute. Both compute in float32; sums are in another order.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from opentelemetry_instrumentation_corevital.capture.attention import plan as plans
from opentelemetry_instrumentation_corevital.capture.attention.plan import Place, Plan
from opentelemetry_instrumentation_corevital.capture.attention.scores import Attended
from opentelemetry_instrumentation_corevital.capture.backends.kernel_launches import Fused
from opentelemetry_instrumentation_corevital.capture.backends.kernels import UNWRITTEN
from opentelemetry_instrumentation_corevital.capture.definitions.attention_weights import (
    attention_row,
    over_heads,
    visible_keys,
)
from opentelemetry_instrumentation_corevital.capture.definitions.hidden_states import cosine, hidden_statistics
from opentelemetry_instrumentation_corevital.capture.definitions.logits import logit_signals, numbers_of, surprisal
from opentelemetry_instrumentation_corevital.capture.row.layout import (
    DONE,
    LOGIT_WIDTH,
    LOGITS,
    TOKEN,
    Layout,
    alternatives_of,
    offsets,
)
from opentelemetry_instrumentation_corevital.capture.row.stacking import stacked
from opentelemetry_instrumentation_corevital.catalogue.alternative_names import RANKS
from tests.support.alternatives_reference import alternatives_reference

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if CUDA else torch.device("cpu")
UNTOUCHED = 7.0
INF, NAN = float("inf"), float("nan")
HIDDEN = len(offsets("hidden"))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def test_the_kernels_write_every_signal_of_their_families() -> None:
    assert frozenset() == UNWRITTEN


def blank(sequences: int, width: int) -> Tensor:
    return torch.full((sequences, width), UNTOUCHED, device=DEVICE)


def same(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=2e-5, rtol=2e-5, equal_nan=True)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(DEVICE)


# --- logits -----------------------------------------------------------------------------------------------------------


def spoilt(kind: str, logits: Tensor) -> Tensor:
    logits = logits.clone()
    if kind == "masked":
        logits[0, logits.shape[1] // 2 :] = -INF
    elif kind == "all masked":
        logits[0] = -INF
    elif kind == "equal":
        logits[0] = 3.0
    elif kind == "huge":
        logits *= 1e37
    elif kind == "far apart":
        logits[0, ::2], logits[0, 1::2] = -3e38, 3e38
    elif kind != "plain":
        logits[0, -1] = float(kind)
    return logits


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("kind", ["plain", "masked", "all masked", "equal", "huge", "far apart", "nan", "inf", "-inf"])
@pytest.mark.parametrize(("vocabulary", "rows"), [(1, 1), (7, 3), (4096, 1), (4097, 2), (49152 if CUDA else 9001, 2)])
def test_logits(vocabulary: int, rows: int, kind: str, edited: bool) -> None:
    logits = spoilt(kind, normal(rows, vocabulary, scale=4.0))
    tokens = torch.full((rows, 3), vocabulary - 1, device=DEVICE)[:, -1]
    done = torch.tensor([row % 2 == 0 for row in range(rows)], device=DEVICE)
    layout = Layout(0, alternatives=RANKS * (not edited))
    row, fused = blank(rows, layout.start + 1100), Fused(DEVICE, rows, layout.alternatives)
    internals = normal(rows, layout.start + 1200)
    wanted = logit_signals(logits)
    numbers = numbers_of(wanted, tokens)

    passed = logits.clone()
    fused.logits(passed, edited=edited)
    if edited:
        passed.fill_(0.0)
    fused.tokens(tokens, done, row, internals)

    for name, at in LOGITS.items():
        same(row[:, at], numbers[name])
    check_alternatives(row, logits, layout)
    assert torch.equal(row[:, layout.start :], internals[:, layout.start : row.shape[1]])
    assert row[:, TOKEN].tolist() == tokens.tolist()
    assert row[:, DONE].bool().tolist() == done.tolist()


def check_alternatives(row: Tensor, logits: Tensor, layout: Layout) -> None:
    found = alternatives_of(row.cpu().numpy(), layout)
    if found is None:
        assert not layout.alternatives
        return
    for sequence, values in enumerate(logits.double().tolist()):
        probabilities, tokens = alternatives_reference(values)
        same(torch.from_numpy(found.probabilities[sequence]), torch.tensor(probabilities))
        told = [token for token in found.tokens[sequence].tolist() if token >= 0]  # one 3e38 behind is not told
        assert told == tokens[: len(told)]
        assert not any(found.probabilities[sequence][len(told) :] > 0)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_of_equally_likely_tokens_the_lower_id_comes_first(scale: float) -> None:
    logits = (normal(3, 9001) * scale).bfloat16().float()  # which has many ties
    layout = Layout(0, alternatives=RANKS)
    row, fused = blank(3, layout.start), Fused(DEVICE, 3, RANKS)
    fused.logits(logits, edited=False)
    fused.tokens(torch.zeros(3, dtype=torch.int64, device=DEVICE), torch.zeros(3, device=DEVICE).bool(), row, None)
    found = alternatives_of(row.cpu().numpy(), layout)
    assert found is not None
    assert found.tokens.tolist() == [alternatives_reference(values)[1] for values in logits.double().tolist()]
    check_alternatives(row, logits, layout)


@pytest.mark.parametrize("padding", [-1, 50, 10**9])
def test_padding_that_is_no_token_is_not_looked_up(padding: int) -> None:
    logits, tokens = normal(2, 50), torch.tensor([3, padding], device=DEVICE)
    row, fused = blank(2, LOGIT_WIDTH), Fused(DEVICE, 2)
    fused.logits(logits, edited=False)
    fused.tokens(tokens, torch.tensor([False, True], device=DEVICE), row, None)
    wanted = surprisal(logit_signals(logits), tokens)
    at = LOGITS["surprisal"]
    assert float(row[0, at]) == pytest.approx(float(wanted[0]), abs=1e-4)
    assert row[1, at].isnan()
    assert wanted[1].isfinite()


# --- hidden states ----------------------------------------------------------------------------------------------------


def states(kind: str, dtype: torch.dtype, sequences: int, width: int, seed: int) -> list[Tensor]:
    layers = [normal(sequences, 1, width, seed=10 * seed + layer, scale=3.0).to(dtype) for layer in range(4)]
    if kind == "zero":
        layers[1].zero_()
    elif kind != "plain":
        layers[2][0, 0, width // 2] = float(kind)
    return layers


@pytest.mark.parametrize("kind", ["plain", "zero", "nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("width", "sequences"), [(64, 1), (576, 3), (100, 2), (4096, 1)])
def test_hidden_states(width: int, sequences: int, dtype: torch.dtype, kind: str) -> None:
    fused, before, offset = Fused(DEVICE, sequences), None, LOGIT_WIDTH
    for step in range(3):
        layers = states(kind if step == 1 else "plain", dtype, sequences, width, step)
        assert fused.takes(layers)
        row = blank(sequences, offset + 4 * HIDDEN + 2)
        fused.internals(row, [layer.data_ptr() for layer in layers], step, ends=True)
        widened = [layer[:, -1].float() for layer in layers]
        for index, state in enumerate(widened):
            wanted = hidden_statistics(state)
            last = 1.0 - cosine(state, widened[index - 1]) if index else torch.full((sequences,), NAN, device=DEVICE)
            wanted["layer_transformation"] = last
            for name, at in offsets("hidden").items():
                same(row[:, offset + HIDDEN * index + at], wanted[name])
        cosines = torch.full((sequences,), NAN, device=DEVICE) if before is None else cosine(widened[-1], before)
        same(row[:, offset + 4 * HIDDEN], cosines)
        assert (row[:, :offset] == UNTOUCHED).all()
        assert (row[:, -1] == UNTOUCHED).all()
        before = widened[-1]


def test_the_last_state_follows_the_sequence_that_goes_on() -> None:
    fused, rows, order = Fused(DEVICE, 3), blank(3, 60), torch.tensor([2, 0, 2], device=DEVICE)
    steps = [states("plain", torch.float32, 3, 64, step) for step in range(2)]
    fused.reorder(order)  # before the first step there is nothing to be reordered
    for step, layers in enumerate(steps):
        assert fused.takes(layers)
        fused.internals(rows, [layer.data_ptr() for layer in layers], step, ends=True)
        fused.reorder(order)
    before, now = (layers[-1][:, -1] for layers in steps)
    same(rows[:, LOGIT_WIDTH + 4 * HIDDEN], cosine(now, before[order]))


def test_without_the_last_layer_there_is_no_cosine() -> None:
    fused = Fused(DEVICE, 1)
    for _ in range(2):
        row = blank(1, 40)
        layers = states("plain", torch.float32, 1, 64, 0)
        assert fused.takes(layers)
        fused.internals(row, [layer.data_ptr() for layer in layers], 0)
        assert row[0, LOGIT_WIDTH + 4 * HIDDEN].isnan()


# --- attention --------------------------------------------------------------------------------------------------------


def masked(kind: str, sequences: int, keys: int) -> Tensor | None:
    if kind == "none":
        return None
    visible = torch.ones(sequences, keys, dtype=torch.bool)
    if kind == "padding":
        visible[0, : keys // 3] = False
    elif kind == "window":
        visible[:, : max(0, keys - 9)] = False
    elif kind == "holes":
        visible = torch.rand(sequences, keys, generator=torch.Generator().manual_seed(1)) > 0.4
    elif kind == "one":
        visible[:] = False
    visible[:, -1] = True
    if kind == "nothing":
        visible[:] = False
    return visible.to(DEVICE)


def attention(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, mask: str = "none", seed: int = 0, **how: Any
) -> Attended:
    sequences, heads, shared, keys, width = shape
    query = normal(sequences, heads, 1, width, seed=seed, scale=2.0).to(dtype)
    key = normal(sequences, shared, keys, width, seed=seed + 1).to(dtype)
    if how.pop("transposed", False):  # as a cache that keeps positions first would return it
        key = key.transpose(1, 2).contiguous().transpose(1, 2)
    sink = normal(heads, seed=3).to(dtype) if how.pop("sink", False) else None
    visible = masked(mask, sequences, keys)
    scale = width**-0.5
    return Attended(module=0, visible=visible, scale=scale, learned_sink=sink, query=query, key=key, **how)


def defined(taken: Attended, generated: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return what `signals` says, from scores multiplied in float64."""
    key = taken.key.double().repeat_interleave(taken.query.shape[1] // taken.key.shape[1], 1)
    scores = (taken.query.double() @ key.mT)[:, :, 0].float() * taken.scale
    if taken.softcap:
        scores = taken.softcap * torch.tanh(scores / taken.softcap)
    batch, _, keys = scores.shape
    counted = visible_keys(taken.visible, batch=batch, keys=keys, generated=generated, device=DEVICE)
    row = attention_row(scores, counted, None if taken.learned_sink is None else taken.learned_sink.float())
    return over_heads(row), row.previous


def check(layers: list[Attended], kind: plans.AttentionKind = "self", step: int = 2) -> None:
    sequences, heads = layers[0].query.shape[:2]
    assert plans.takes(layers, DEVICE, sequences)
    family = plans.FAMILY_OF[kind]
    width = len(offsets(family))
    end = 5 + width * len(layers)
    places = [Place(kind, 5 + width * layer, by_head=end + heads * layer) for layer in range(len(layers))]
    row = blank(sequences, end + heads * len(layers))
    Fused(DEVICE, sequences).internals(row, [], step, plan=Plan(layers, places))
    for place, taken in zip(places, layers, strict=True):
        wanted, previous = defined(taken, step if kind == "self" else 0)
        same(row[:, place.offset : place.offset + width], stacked(family, wanted))
        if kind == "self":
            same(row[:, place.by_head : place.by_head + heads], previous)
    assert (row[:, :5] == UNTOUCHED).all()


MASKS = ("none", "padding", "window", "holes", "one", "nothing")


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("keys", [1, 2, 12, 63, 64, 200] + ([1025, 4000] if CUDA else []))
def test_attention_of_every_mask_and_length(keys: int, mask: str) -> None:
    check([attention((2, 8, 2, keys, 64), torch.float32, mask, seed) for seed in range(2)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [64, 80, 96, 128, 256])
@pytest.mark.parametrize("heads", [(1, 1), (9, 3), (8, 1), (14, 2), (32, 1)])
def test_attention_of_every_head(heads: tuple[int, int], width: int, dtype: torch.dtype) -> None:
    check([attention((1, *heads, 70, width), dtype)])


@pytest.mark.parametrize(("softcap", "sink"), [(None, False), (None, True), (20.0, False), (20.0, True)])
@pytest.mark.parametrize("mask", ["none", "padding", "one"])
def test_softcap_and_learned_sinks(mask: str, softcap: float | None, sink: bool) -> None:
    check([attention((2, 4, 2, 50, 64), torch.bfloat16, mask, softcap=softcap, sink=sink)])


def test_cross_attention_has_fewer_numbers() -> None:
    check([attention((2, 4, 4, 50, 64), torch.float32, "padding")], "cross")


def test_keys_that_are_not_contiguous() -> None:
    check([attention((2, 4, 2, 50, 64), torch.float16, transposed=True)])


def test_layers_that_differ_are_reduced_apart() -> None:
    shapes = [(2, 4, 2, 50, 64), (2, 4, 2, 20, 64), (2, 4, 4, 50, 64), (2, 4, 2, 50, 32)]
    check([attention(shape, torch.float32, "none", seed) for seed, shape in enumerate(shapes)])


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("place", ["query", "visible key", "hidden key"])
def test_values_that_are_not_finite(place: str, value: float) -> None:
    taken = attention((2, 4, 2, 50, 64), torch.float32, "padding")
    if place == "query":
        taken.query[0, 0, 0, 0] = value
    else:
        taken.key[0, 0, 40 if place == "visible key" else 0, 0] = value
    check([taken])


def test_many_steps_reuse_the_table() -> None:
    fused = Fused(DEVICE, 1)
    for step in range(1, 12):
        taken = attention((1, 4, 2, 20 + step, 64), torch.float32, seed=step)
        row = blank(1, 60)
        fused.internals(row, [], step, plan=Plan([taken], [Place("self", 0)]))
        wanted = stacked("attention", defined(taken, step)[0])
        same(row[:, : wanted.shape[1]], wanted)
