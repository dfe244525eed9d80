"""Steps that are reduced together give the numbers of steps that are reduced one by one."""

from typing import Any

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital.capture import batched, session
from opentelemetry_instrumentation_corevital.run import Run
from tests.capture.test_inside import measure
from tests.support import padded_batch, prompt, sharpen, tiny_model


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = session.vitals_for
    monkeypatch.setattr(session, "vitals_for", lambda *args, **more: whole(*args, **{**more, "at_once": True}))


def assert_same(left: list[Run], right: list[Run]) -> None:
    for one, other in zip(left, right, strict=True):
        assert one.absent == other.absent
        assert set(one.columns) == set(other.columns)
        for name, column in one.columns.items():
            np.testing.assert_allclose(column, other.columns[name], rtol=2e-5, atol=2e-5, err_msg=name)


def in_place(model: Any) -> None:
    """Let a layer's output be changed behind its tap, from the fourth step on."""
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
        room = batched._room_for(shape, torch.float32)
        assert room.shape[1:] == shape
        assert len(room) == 1 or room.nbytes <= batched.KEPT_BYTES
    assert len(batched._room_for((1, 10), torch.float32)) == batched.STEPS
