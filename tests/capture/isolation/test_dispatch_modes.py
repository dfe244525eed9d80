"""Modes of the caller that see every operation of a block (FLOP counters, loggers) see those of the model only."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from opentelemetry_instrumentation_corevital.capture.isolation import dispatch_modes
from tests.support.in_memory import instrumented
from tests.support.tiny_models import padded_batch, prompt, tiny_encoder_decoder, tiny_model


class Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[getattr(func, "__qualname__", str(func))] += 1
        return func(*args, **(kwargs or {}))


MODELS: dict[str, Callable[[], Any]] = {
    "sdpa": tiny_model,
    "eager": lambda: tiny_model(attn_implementation="eager"),
    "encoder-decoder": lambda: tiny_encoder_decoder("bart"),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True, "num_return_sequences": 2, "top_k": 5},
    "beams": {"num_beams": 2},
    "prompt lookup": {"prompt_lookup_num_tokens": 2},
    "guidance": {"guidance_scale": 1.5},
    "a criterion of single rows": {"stopping_criteria": [lambda ids, _scores: ids[:, -1] > 60]},
}


def seen(model: Any, options: dict[str, Any], inputs: dict[str, torch.Tensor]) -> tuple[Any, ...]:
    flops, dispatched, called = FlopCounterMode(display=False), Dispatched(), Called()
    torch.manual_seed(0)
    with called, dispatched, flops:
        tokens = model.generate(**inputs, max_new_tokens=6, **options)
    return tokens.tolist(), flops.get_flop_counts(), dispatched.seen, called.seen


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_modes_see_the_models_operations_only(make: Callable[[], Any]) -> None:
    model = make()
    for name, options in OPTIONS.items():
        inputs = {"input_ids": prompt()} if name == "prompt lookup" else padded_batch()
        seen(model, options, inputs)  # what transformers makes once
        plain = seen(model, options, inputs)
        with instrumented(capture="full", step_events="logs" if name == "sampled" else "span") as telemetry:
            found = seen(model, options, inputs)
        assert found == plain, name
        if name in ("greedy", "sampled", "beams"):
            told = [
                span.attributes or {} for span in telemetry.spans if "corevital.entropy.mean" in (span.attributes or {})
            ]
            assert told, name
            assert all("corevital.layers.attention_entropy" in attributes for attributes in told)


def test_what_is_measured_under_a_mode_is_what_is_measured_without() -> None:
    def measured(*, mode: bool) -> dict[str, Any]:
        model = tiny_model()
        with instrumented(capture="full") as telemetry:
            if mode:
                seen(model, {}, {"input_ids": prompt()})
            else:
                torch.manual_seed(0)
                model.generate(prompt(), max_new_tokens=6)
        attributes = dict(telemetry.span.attributes or {})
        return {name: value for name, value in attributes.items() if ".layers." in name or ".series." in name}

    assert measured(mode=True) == measured(mode=False)


def test_a_default_device_stays_the_callers() -> None:
    """`torch.device(...)` as a context is a mode, too."""
    model = tiny_model()
    plain = model.generate(prompt(), max_new_tokens=6)
    with instrumented() as telemetry, torch.device("cpu"):
        assert torch.equal(model.generate(prompt(), max_new_tokens=6), plain)
    assert "corevital.entropy.mean" in (telemetry.span.attributes or {})


def test_without_torchs_private_functions_modes_see_more_and_runs_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch_modes, "_STACKS", [])
    model = tiny_model()
    plain = seen(model, {}, {"input_ids": prompt()})
    with instrumented() as telemetry:
        found = seen(model, {}, {"input_ids": prompt()})
    assert found[0] == plain[0]
    assert "corevital.entropy.mean" in (telemetry.span.attributes or {})


@pytest.mark.parametrize("kind", ["fake tensors", "ordinary tensors among fake ones", "meta device"])
def test_tensors_without_values_are_not_read(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """generate() cannot go on with them itself; the exception is its own, and nothing of ours fails."""
    ordinary = tiny_model()

    def attempt() -> str:
        try:
            if kind == "fake tensors":
                with FakeTensorMode(allow_non_fake_inputs=True):
                    tiny_model().generate(torch.ones(1, 4, dtype=torch.long), max_new_tokens=3)
            elif kind == "ordinary tensors among fake ones":
                with FakeTensorMode(allow_non_fake_inputs=True):
                    ordinary.generate(prompt(), max_new_tokens=3)
            else:
                tiny_model().to("meta").generate(torch.ones(1, 4, dtype=torch.long, device="meta"), max_new_tokens=3)
        except Exception as error:
            return repr(error)
        raise AssertionError("it has worked")

    plain = attempt()
    with instrumented():
        assert attempt() == plain
    assert not [record for record in caplog.records if "corevital" in record.name]
