"""Routers of experts in runs through the kernels: the same numbers as from a plain forward."""

import pytest
import torch

from opentelemetry_instrumentation_corevital.capture.backends import kernel_backend
from tests.support.model_internals import measure
from tests.support.router_reference import assert_routers, model_with_experts
from tests.support.tiny_models import padded_batch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("every", [1, 3])
def test_routers_equal_a_plain_forward(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    made = kernel_backend.KernelBackend.row

    def counted(self: kernel_backend.KernelBackend, step: kernel_backend.Step) -> torch.Tensor:
        rows.append(step.index)
        return made(self, step)

    monkeypatch.setattr(kernel_backend.KernelBackend, "row", counted)
    model = model_with_experts("qwen3_moe", decoder_sparse_step=2).to(DEVICE)
    inputs = {name: value.to(DEVICE) for name, value in padded_batch().items()}
    arguments = {**inputs, "max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    runs, tokens = measure(model, {"attention_every": every}, **arguments)
    assert rows == list(range(5)), "made by the kernels"
    for run, row, padding in zip(runs, tokens, (0, 3, 6), strict=True):
        assert "hidden_l2_norm" in run.columns
        assert "attention_entropy" in run.columns
        assert_routers(model, run, row, padding, 3e-5)
