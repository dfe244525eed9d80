"""Steps that are reduced together give the numbers of steps that are reduced one by one."""

from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital._internal.clock import Clock
from opentelemetry_instrumentation_corevital.capture.backends import batched_backend
from opentelemetry_instrumentation_corevital.capture.collector.presence import Presence
from opentelemetry_instrumentation_corevital.capture.collector.step import Step
from opentelemetry_instrumentation_corevital.capture.row.host_transfer import HostRows
from opentelemetry_instrumentation_corevital.run import Run
from tests.support.in_memory import Keep, instrumented
from tests.support.model_internals import measure, one_by_one
from tests.support.tiny_models import padded_batch, prompt, sharpen, tiny_model


def assert_same(left: list[Run], right: list[Run]) -> None:
    for one, other in zip(left, right, strict=True):
        assert one.absent == other.absent
        assert set(one.columns) == set(other.columns)
        for name, column in one.columns.items():
            np.testing.assert_allclose(column, other.columns[name], rtol=2e-5, atol=2e-5, err_msg=name)


def in_place(model: Any) -> None:
    """Let a layer's output be changed behind its hook, from the fourth step on."""
    steps = []

    def change(_module: Any, args: Any) -> None:
        steps.append(0)
        if len(steps) > 3:
            args[0].mul_(1.0)

    model.model.layers[1].register_forward_pre_hook(change)


@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 20])
@pytest.mark.parametrize("options", [{"capture": "full"}, {"attention_every": 3}, {"layers": "0,1"}])
@pytest.mark.parametrize("inputs", [{"input_ids": prompt(9)}, padded_batch()], ids=["one", "padded"])
def test_numbers_do_not_depend_on_it(
    tokens: int, options: dict[str, Any], inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {**inputs, "max_new_tokens": tokens, "do_sample": False, "eos_token_id": None}
    model = sharpen(tiny_model())
    together, _ = measure(model, options, **arguments)
    one_by_one(monkeypatch)
    single, _ = measure(model, options, **arguments)
    assert "hidden_cosine" in together[0].columns
    assert_same(together, single)


def test_a_step_whose_states_were_overwritten_breaks_the_chain_of_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"input_ids": prompt(9), "max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
    found = []
    for _ in range(2):
        model = sharpen(tiny_model())
        in_place(model)
        found.append(measure(model, {"capture": "full"}, **arguments)[0])
        one_by_one(monkeypatch)
    assert_same(*found)
    cosines = found[0][0].columns["hidden_cosine"]
    assert np.flatnonzero(np.isnan(cosines)).tolist() == [0, 3, 4]


def test_what_is_kept_has_a_bounded_size() -> None:
    for shape in [(1, 10), (1, 300_000), (64, 300_000)]:
        room = batched_backend._room_for(shape, torch.float32)
        assert room.shape[1:] == shape
        assert len(room) == 1 or room.nbytes <= batched_backend.KEPT_BYTES
    assert len(batched_backend._room_for((1, 10), torch.float32)) == batched_backend.STEPS


@pytest.mark.parametrize("late_write", [0, 1, 2], ids=["logits", "hidden states", "attention"])
def test_an_interrupt_leaves_no_number_that_was_not_computed(late_write: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, model, writes = Keep(), sharpen(tiny_model()), []
    arguments = {"input_ids": prompt(9), "do_sample": False, "eos_token_id": None}

    def interrupted(*args: Any) -> None:
        writes.append(args)
        if len(writes) == late_write + 1:
            raise KeyboardInterrupt
        write(*args)

    write = batched_backend._write
    monkeypatch.setattr(batched_backend, "_write", interrupted)
    with instrumented(judgements=[keep], attention_every=1), pytest.raises(KeyboardInterrupt):
        model.generate(max_new_tokens=20, **arguments)
    (run,) = keep.runs
    assert 0 < run.steps < 20
    assert_same([run], measure(model, {}, max_new_tokens=run.steps, **arguments)[0])


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ValueError("a bug")])
def test_a_failed_call_whose_numbers_cannot_be_computed_has_none(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: Any) -> Any:
        raise error

    def failing(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if ids.shape[1] == 12:
            raise ZeroDivisionError
        return scores

    monkeypatch.setattr(batched_backend, "logit_signals", unable)
    keep = Keep()
    with instrumented(judgements=[keep]), pytest.raises(ZeroDivisionError):
        tiny_model().generate(prompt(9), max_new_tokens=20, do_sample=False, logits_processor=[failing])
    (run,) = keep.runs
    assert run.columns == {}
    assert run.absent["entropy"] == f"internal error ({type(error).__name__})"


def test_inference_mode_after_an_ordinary_call_is_watched_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    model, keep = sharpen(tiny_model()), Keep()
    arguments = {"input_ids": prompt(9), "max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
    with instrumented(judgements=[keep], attention_every=1):
        model.generate(**arguments)
        with torch.inference_mode():
            model.generate(**arguments)
        model.generate(**arguments)
    ordinary, inferred, again = keep.runs
    assert_same([ordinary, ordinary], [inferred, again])


def test_defaults_of_the_process_do_not_matter() -> None:
    arguments = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
    model, inputs = (
        sharpen(tiny_model()),
        {"input_ids": prompt(9), "attention_mask": torch.ones(1, 9, dtype=torch.int64)},
    )
    in_place(model)
    plain, _ = measure(model, {}, **inputs, **arguments)
    model = sharpen(tiny_model())
    in_place(model)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found, _ = measure(model, {}, **inputs, **arguments)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(plain, found)


def test_rows_are_made_on_the_host_whatever_the_default_device() -> None:
    carrier = HostRows(Clock())
    with torch.device("meta"):
        backend = batched_backend.BatchedBackend(Presence(0), carrier)
        for token in range(3):
            logits = torch.arange(5.0, device="cpu")[None]
            step = Step(token, logits, edited=False)
            backend.measure(step)
            step.choose(torch.tensor([token], device="cpu"), torch.tensor([False], device="cpu"))
            row = backend.row(step)
            carrier.push(row)
        backend.finish()
    assert row.device.type == "cpu"
    assert not row.isnan().any()
