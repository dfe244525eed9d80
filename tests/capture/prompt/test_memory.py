"""The memory that the surprisal of a long prompt takes beside what the model has anyway."""

import weakref
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from opentelemetry_instrumentation_corevital.capture.prompt.call_prompts import CallPrompts
from opentelemetry_instrumentation_corevital.capture.prompt.parts import Reading, no_kernels
from opentelemetry_instrumentation_corevital.capture.prompt.surprisal import PromptSurprisal

VOCABULARY, WIDTH, POSITIONS = 128_256, 8, 200
MIB = 1024 * 1024


class Live(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, as long as a tensor refers to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._tensors = Counter[int]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, torch.Tensor):
                self._add(each)
        return out

    def _add(self, tensor: torch.Tensor) -> None:
        address, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        self._tensors[address] += 1
        if self._tensors[address] == 1:
            self.now += size
            self.most = max(self.most, self.now)
        weakref.finalize(tensor, self._drop, address, size)

    def _drop(self, address: int, size: int) -> None:
        self._tensors[address] -= 1
        if not self._tensors[address]:
            self.now -= size


class Model(torch.nn.Module):
    """No more than a head."""

    config = None

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=dtype)

    def get_output_embeddings(self) -> torch.nn.Linear:
        return self.head


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prompts", [1, 3])
def test_surprisal_of_a_large_vocabulary_takes_less_than_64_mib(dtype: torch.dtype, prompts: int) -> None:
    ids = torch.randint(0, VOCABULARY, (prompts, POSITIONS // prompts))
    tokens = CallPrompts(prompts, ids.shape[1], ids, None, cached=False, encoded=False)
    model = Model(dtype)
    taker = PromptSurprisal(Reading(tokens, no_kernels), model)
    hidden = torch.randn(*ids.shape, WIDTH, dtype=dtype)
    with torch.no_grad(), Live() as live:
        taker.take((hidden,))
    assert taker.values is not None
    assert taker.values.shape == (prompts, ids.shape[1] - 1)
    assert 32 * MIB < live.most < 64 * MIB, "and it is counted at all"
    whole = ids[:, 1:].numel() * VOCABULARY * 4
    assert live.most < whole, "all logits at once would be more"
