"""The kernels of a prompt against their definitions and, in whole prefills, against the models themselves."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from opentelemetry_instrumentation_corevital.capture.attention.scores import Attended
from opentelemetry_instrumentation_corevital.capture.backends import kernel_availability, prompt_launches
from opentelemetry_instrumentation_corevital.capture.backends.prompt_launches import PromptLaunches
from opentelemetry_instrumentation_corevital.capture.definitions import prompt_numbers
from opentelemetry_instrumentation_corevital.capture.definitions.prompt_numbers import (
    PromptKeys,
    basin_score,
    connections,
    prompt_keys,
    weights_of,
)
from opentelemetry_instrumentation_corevital.capture.prompt import attention, layers, surprisal
from tests.support.model_internals import LAYERS, measure
from tests.support.prompt_checks import analysis_of, assert_attention, assert_prompt, generate
from tests.support.prompt_reference import tell_prompt
from tests.support.tiny_models import padded_batch, prompt, sharpen, tiny_encoder_decoder, tiny_model

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if CUDA else torch.device("cpu")
INF, NAN = float("inf"), float("nan")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


def normal(*shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(DEVICE, dtype)


def same(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=2e-5, rtol=2e-5, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spoilt", [None, NAN, INF, -INF, "half", "late", "all", "far apart"])
def test_surprisal(spoilt: Any, dtype: torch.dtype) -> None:
    logits = normal(6, 5003, scale=4.0, dtype=dtype)
    if isinstance(spoilt, float):
        logits[1, 7] = spoilt
    elif spoilt == "half":
        logits[1, 2000:] = -INF
    elif spoilt == "late":  # of the kernel's first block there is none
        logits[1, :5000] = -INF
    elif spoilt == "all":
        logits[1] = -INF
    elif spoilt == "far apart":
        logits[1, ::2], logits[1, 1::2] = torch.finfo(dtype).min, torch.finfo(dtype).max
    whole = torch.randint(0, 5003, (2, 9), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    tokens, out = whole[:, 4:7], torch.full((2, 8), 7.0, device=DEVICE)
    assert PromptLaunches().surprisal(logits, tokens, out[:, 1:4])
    same(out[:, 1:4], prompt_numbers.surprisal(logits, tokens.flatten()).view(2, 3))
    assert (out[:, 4:] == 7.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("positions", "width"), [(1, 48), (8, 64), (37, 100)])
def test_layer_change(positions: int, width: int, dtype: torch.dtype) -> None:
    before, after = normal(3, positions, width, dtype=dtype), normal(3, positions, width, seed=1, dtype=dtype)
    real = torch.ones(3, positions + 2, dtype=torch.bool, device=DEVICE)[:, 2:]
    real[1, : positions // 2] = False
    after[1, 0] = NAN  # padding may be anything
    after[2, -1] = 0.0  # has no direction
    got = PromptLaunches().layer_change(before, after[:, :], real)
    assert got is not None
    same(got, prompt_numbers.layer_change(before, after, real))
    wider = normal(3, positions, 2 * width, dtype=dtype)[..., :width]
    got = PromptLaunches().layer_change(wider, after, real)
    assert got is not None
    same(got, prompt_numbers.layer_change(wider, after, real))


def test_what_the_kernels_cannot_read_is_left_to_torch() -> None:
    states, real = normal(1, 4, 16), torch.ones(1, 4, dtype=torch.bool, device=DEVICE)
    assert PromptLaunches().layer_change(states.double(), states.double(), real) is None
    assert PromptLaunches().layer_change(states, states.transpose(1, 2).contiguous().transpose(1, 2), real) is None
    tokens, out = torch.zeros(1, 4, dtype=torch.int64, device=DEVICE), torch.zeros(1, 4, device=DEVICE)
    assert not PromptLaunches().surprisal(normal(4, 32).double(), tokens, out)
    query, key = normal(1, 2, 1, 16), normal(1, 2, 5, 16)
    keys = prompt_keys(torch.ones(1, 5, dtype=torch.bool, device=DEVICE), 5)
    for more in ({"biases": (normal(1, 1, 5),)}, {"learned_sink": normal(2)}):
        taken = Attended(module=0, visible=None, query=query, key=key, **more)
        assert PromptLaunches().attention(taken, keys, full=True) is None


def by_definition(taken: Attended, keys: PromptKeys) -> tuple[Tensor, Tensor, Tensor]:
    scores = taken.multiplied().values * taken.scale
    if taken.softcap is not None:
        scores = taken.softcap * torch.tanh(scores / taken.softcap)
    weights = weights_of(scores, taken.visible)
    return basin_score(weights, taken.visible, keys), *connections(weights, taken.visible, keys)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize(("heads", "shared", "width"), [(4, 4, 64), (6, 2, 80), (8, 1, 256)])
@pytest.mark.parametrize(("columns", "keys"), [(2, 2), (5, 5), (300, 300), (300, 40), (150, 333)])
def test_attention(
    columns: int, keys: int, heads: int, shared: int, width: int, softcap: float | None, dtype: torch.dtype
) -> None:
    real = torch.ones(2, columns, dtype=torch.bool, device=DEVICE)
    real[1, : columns // 3] = False
    told = prompt_keys(real, keys)
    visible = told.real.clone()
    if keys > 30:
        visible[0, : keys // 2] = False  # a window
    query = normal(2, heads, 1, width, dtype=dtype)
    key = normal(2, keys, shared, width, seed=1, dtype=dtype).transpose(1, 2)
    for seen in (visible, visible[:1]) if columns == keys else (visible,):
        taken = Attended(module=0, visible=seen, query=query, key=key, scale=width**-0.5, softcap=softcap)
        got = PromptLaunches().attention(taken, told, full=True)
        assert got is not None
        basin, index, weight = got
        assert index is not None
        assert weight is not None
        wanted_basin, wanted_index, wanted_weight = by_definition(taken, told)
        same(basin, wanted_basin)
        same(weight, wanted_weight)
        apart = index != wanted_index  # equal weights may be in either order
        assert (index >= 0).equal(wanted_index >= 0)
        assert apart.float().mean() < 0.05
        bare = PromptLaunches().attention(taken, told, full=False)
        assert bare is not None
        same(bare[0], basin)
        assert bare[1:] == (None, None)


@pytest.mark.parametrize("spoilt", [NAN, INF])
def test_attention_that_is_not_finite(spoilt: float) -> None:
    told = prompt_keys(torch.ones(1, 300, dtype=torch.bool, device=DEVICE), 300)
    key = normal(1, 2, 300, 64)
    key[0, 0, 200, 0] = spoilt
    taken = Attended(module=0, visible=None, query=normal(1, 2, 1, 64).abs(), key=key, scale=0.1)
    got = PromptLaunches().attention(taken, told, full=True)
    assert got is not None
    for each, wanted in zip(got, by_definition(taken, told), strict=True):
        assert each is not None
        same(each.float(), wanted.float())


# --- whole prefills ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _only_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> Any:
        raise AssertionError("computed by torch")

    monkeypatch.setattr(surprisal, "surprisal", forbidden)
    monkeypatch.setattr(layers, "layer_change", forbidden)
    monkeypatch.setattr(attention, "basin_score", forbidden)


@pytest.mark.usefixtures("_only_kernels")
@pytest.mark.parametrize("kind", ["padded", "long"])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3", "mixtral", "gpt2"])
def test_a_prefill_tells_what_the_model_says(architecture: str, kind: str) -> None:
    model = sharpen(tiny_model(architecture))
    inputs = padded_batch() if kind == "padded" else {"input_ids": prompt(40)}
    inputs = {name: value.to(DEVICE) for name, value in inputs.items()}
    truth = tell_prompt(model.to(DEVICE), LAYERS.get(architecture, "model.layers"), **inputs)
    ids = inputs["input_ids"]
    for row, run in enumerate(generate(model, **inputs)):
        padding = (0, 3, 6)[row] if kind == "padded" else 0
        found = analysis_of(run)
        assert (dict(found.absent), found.first) == ({}, 0)
        assert_prompt(found, truth, row, model.config, list(range(padding, ids.shape[1])), ids[row])


@pytest.mark.usefixtures("_only_kernels")
def test_an_encoders_prompt() -> None:
    model = sharpen(tiny_encoder_decoder("bart")).to(DEVICE)
    ids, mask = prompt(9, batch=2).to(DEVICE), torch.ones(2, 9, dtype=torch.long, device=DEVICE)
    mask[1, 5:] = 0
    truth = tell_prompt(model, LAYERS["bart"], ids, mask)
    for row, run in enumerate(generate(model, input_ids=ids, attention_mask=mask)):
        assert_attention(analysis_of(run), truth, row, model.config, list(range((9, 5)[row])))


def test_several_sequences_of_a_prompt_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sharpen(tiny_model()).to(DEVICE)
    (alone,) = generate(model, input_ids=prompt(9).to(DEVICE))
    rows: list[int] = []
    read = PromptLaunches.attention

    def counted(self: PromptLaunches, taken: Attended, *args: Any, **options: Any) -> Any:
        rows.append(len(taken.query))
        return read(self, taken, *args, **options)

    monkeypatch.setattr(PromptLaunches, "attention", counted)
    several = generate(model, input_ids=prompt(9).to(DEVICE), num_return_sequences=3, do_sample=True)
    assert set(rows) == {1}
    wanted = analysis_of(alone).basin
    assert wanted is not None
    for run in several:
        found = analysis_of(run).basin
        assert found is not None
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_kernel_that_fails_costs_one_prompt_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernel_availability, "_broken", set())

    def failing(*_: Any) -> None:
        raise RuntimeError("out of shared memory")

    monkeypatch.setattr(prompt_launches, "_layer_change", failing)
    model = sharpen(tiny_model()).to(DEVICE)
    first, again = (generate(model, input_ids=prompt(9).to(DEVICE))[0] for _ in range(2))
    assert set(analysis_of(first).absent.values()) == {"internal error (RuntimeError)"}
    assert not analysis_of(again).absent
    assert f"the Triton kernels do not run on {DEVICE} (RuntimeError at " in caplog.text


def test_kernels_off_is_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("computed by kernels")

    for name in ("surprisal", "layer_change", "attention"):
        monkeypatch.setattr(PromptLaunches, name, forbidden)
    model = sharpen(tiny_model()).to(DEVICE)
    given = {"input_ids": prompt(9).to(DEVICE), "max_new_tokens": 2, "do_sample": False}
    runs, _ = measure(model, {"prompt_analysis": "full", "kernels": "off"}, **given)
    assert not analysis_of(runs[0]).absent
