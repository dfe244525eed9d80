"""Whole runs through the kernels: the numbers are the model's own, as they are by torch's operations."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital.capture.attention.plan import Plan
from opentelemetry_instrumentation_corevital.capture.backends import batched_backend, torch_backend
from tests.support.beam_reference import SEARCHES, ends_early
from tests.support.beam_reference import compare as compare_beams
from tests.support.model_internals import LAYERS, PADDING, assert_attention, assert_hidden, measure, tell
from tests.support.reused_buffers import Scratch
from tests.support.tiny_models import padded_batch, prompt, sharpen, tiny_encoder_decoder, tiny_model

NEW_TOKENS = 6
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

BY_TORCH = {kind: kind.measure for kind in (torch_backend.TorchBackend, batched_backend.BatchedBackend)}


def allow_torch(patch: pytest.MonkeyPatch) -> None:
    for kind, own in BY_TORCH.items():
        patch.setattr(kind, "measure", own)


@pytest.fixture(autouse=True)
def _only_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("reduced by torch")

    for kind in BY_TORCH:
        monkeypatch.setattr(kind, "measure", forbidden)


@pytest.fixture
def renewals(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return what each attempt to use a plan again has come to."""
    found: list[bool] = []
    renew = Plan.renew

    def watched(self: Plan, *args: Any) -> bool:
        found.append(renew(self, *args))
        return found[-1]

    monkeypatch.setattr(Plan, "renew", watched)
    return found


def compare(model: Any, layers: str, inputs: dict[str, torch.Tensor], length: int, padding: Any, **more: Any) -> None:
    model.to(DEVICE)
    inputs = {name: value.to(DEVICE) for name, value in inputs.items()}
    arguments = {**inputs, "max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None, **more}
    truth = tell(model, layers, **arguments)
    runs, tokens = measure(model, **arguments)
    assert torch.equal(tokens, truth.tokens)
    for row, run in enumerate(runs):
        assert_hidden(run, row, truth, 3e-5)
        assert_attention(run, row, truth, model.config, length, padding[row], 3e-5)


@pytest.mark.parametrize("padded", ["one", "padded"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_numbers_are_those_of_the_model(architecture: str, padded: str, renewals: list[bool]) -> None:
    inputs = padded_batch() if padded == "padded" else {"input_ids": prompt(9)}
    compare(sharpen(tiny_model(architecture)), LAYERS.get(architecture, "model.layers"), inputs, 9, PADDING[padded])
    assert len(renewals) == NEW_TOKENS - 2, "the prompt and the first token make the plan"
    assert renewals.count(False) <= 1, "at most when a window is full"


def test_a_static_cache(renewals: list[bool]) -> None:
    more = {"cache_implementation": "static", "disable_compile": True}
    compare(sharpen(tiny_model()), "model.layers", padded_batch(), 9, PADDING["padded"], **more)
    assert all(renewals)


def test_cross_attention_equals_that_by_torch() -> None:
    model = sharpen(tiny_encoder_decoder("bart")).to(DEVICE)
    arguments = {
        "input_ids": prompt(9).to(DEVICE),
        "max_new_tokens": NEW_TOKENS,
        "do_sample": False,
        "eos_token_id": None,
    }
    (fused,), _ = measure(model, **arguments)
    with pytest.MonkeyPatch.context() as patch:
        allow_torch(patch)
        (plain,), _ = measure(model, {"kernels": "off"}, **arguments)
    assert set(fused.columns) == set(plain.columns)
    assert "cross_attention_entropy" in fused.columns
    for name, column in plain.columns.items():
        np.testing.assert_allclose(fused.columns[name], column, rtol=3e-5, atol=3e-5, err_msg=name)


def test_a_kernel_that_fails_costs_one_run_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from opentelemetry_instrumentation_corevital.capture.backends import kernel_availability, kernel_launches

    allow_torch(monkeypatch)
    monkeypatch.setattr(kernel_availability, "_broken", set())

    def failing(*args: Any) -> None:
        raise RuntimeError("out of shared memory")

    monkeypatch.setattr(kernel_launches, "_attention_row", failing)
    model = sharpen(tiny_model()).to(DEVICE)
    arguments = {"input_ids": prompt(9).to(DEVICE), "max_new_tokens": NEW_TOKENS, "do_sample": False}
    (first,), tokens = measure(model, **arguments)
    (second,), again = measure(model, **arguments)
    assert torch.equal(tokens, again)
    assert first.absent["attention"] == "internal error (RuntimeError)"
    assert "entropy" in first.columns
    assert "attention_entropy" in second.columns
    assert re.search(rf"the Triton kernels do not run on {DEVICE}(:0)? \(RuntimeError at ", caplog.text)
    assert caplog.text.count("Triton kernels do not run") == 1


def test_a_cache_that_hands_out_one_buffer() -> None:
    model = sharpen(tiny_model(num_hidden_layers=4)).to(DEVICE)
    arguments = {
        "input_ids": prompt(9).to(DEVICE),
        "max_new_tokens": NEW_TOKENS,
        "do_sample": False,
        "eos_token_id": None,
    }
    truth = tell(model, "model.layers", **arguments, past_key_values=Scratch())
    (run,), tokens = measure(model, **arguments, past_key_values=Scratch())
    assert torch.equal(tokens, truth.tokens)
    assert_attention(run, 0, truth, model.config, 9, 0, 3e-5)


@pytest.mark.parametrize("search", SEARCHES)
def test_beams(search: str) -> None:
    model, inputs = sharpen(tiny_model()), padded_batch()
    options = ends_early(model, inputs, SEARCHES[search])
    inputs = {name: value.to(DEVICE) for name, value in inputs.items()}
    compare_beams(model.to(DEVICE), "model.layers", inputs, {**options, "max_new_tokens": NEW_TOKENS})
