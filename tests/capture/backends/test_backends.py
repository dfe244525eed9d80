"""The backends alone, step by step: what `Backend` says of them, whatever makes the rows."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from opentelemetry_instrumentation_corevital._internal.clock import Clock
from opentelemetry_instrumentation_corevital.capture.backends.backend import Backend
from opentelemetry_instrumentation_corevital.capture.backends.batched_backend import STEPS, BatchedBackend
from opentelemetry_instrumentation_corevital.capture.backends.torch_backend import TorchBackend
from opentelemetry_instrumentation_corevital.capture.collector.presence import Presence
from opentelemetry_instrumentation_corevital.capture.collector.step import LayerStates, Step
from opentelemetry_instrumentation_corevital.capture.definitions.hidden_states import cosine
from opentelemetry_instrumentation_corevital.capture.row.host_transfer import HostRows
from opentelemetry_instrumentation_corevital.capture.row.layout import DONE, TOKEN, every_step_columns

SEQUENCES, LAYERS, WIDTH = 3, 2, 8

BACKENDS: list[Callable[[Presence], Backend]] = [
    TorchBackend,
    lambda presence: BatchedBackend(presence, HostRows(Clock())),
]
pytestmark = pytest.mark.parametrize("make", BACKENDS, ids=["torch", "batched"])


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def states_of(index: int) -> list[Tensor]:
    return [normal(SEQUENCES, 1, WIDTH, seed=10 * index + layer) for layer in range(LAYERS)]


def measured(backend: Backend, index: int, *, hidden: bool = True) -> Step:
    step = Step(index, normal(SEQUENCES, 11, seed=index), edited=True)
    step.hidden = LayerStates(states_of(index), [], None) if hidden else None
    backend.measure(step)
    step.measured()
    return step


def presence_of_layers() -> Presence:
    presence = Presence(LAYERS)
    presence.fits("hidden", tuple(range(LAYERS)))
    return presence


def test_the_last_state_follows_the_sequence_that_goes_on(make: Callable[[Presence], Backend]) -> None:
    """As beam search goes on: after each step some sequences end, and others go on twice."""
    presence = presence_of_layers()
    backend, rows = make(presence), []
    orders = [normal(SEQUENCES, seed=100 + index).argsort() % 2 for index in range(STEPS + 3)]
    for index, order in enumerate(orders):
        presence.step = index
        step = measured(backend, index)
        step.choose(torch.arange(SEQUENCES), torch.zeros(SEQUENCES, dtype=torch.bool))
        rows.append(backend.row(step))
        backend.reorder(order)
    backend.finish()
    for index in range(1, len(rows)):
        before = states_of(index - 1)[-1][:, 0][orders[index - 1]]
        for row in range(SEQUENCES):
            found = every_step_columns(rows[index][row : row + 1].numpy(), presence.layout)["hidden_cosine"]
            wanted = cosine(states_of(index)[-1][row], before[row : row + 1])
            torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-6, rtol=1e-6)


def test_a_step_without_states_is_empty_and_breaks_the_chain_of_cosines(make: Callable[[Presence], Backend]) -> None:
    presence = presence_of_layers()
    backend, rows = make(presence), []
    for index in range(4):
        presence.step = index
        step = measured(backend, index, hidden=index != 1)
        step.choose(torch.arange(SEQUENCES), torch.zeros(SEQUENCES, dtype=torch.bool))
        rows.append(backend.row(step))
    backend.finish()
    span = presence.layout.blocks["hidden"].span
    assert [bool(row[:, span].isnan().all()) for row in rows] == [False, True, False, False]
    columns = [every_step_columns(row[:1].numpy(), presence.layout) for row in rows]
    assert [bool(column["hidden_cosine"][0] == column["hidden_cosine"][0]) for column in columns] == [False] * 3 + [
        True
    ]


def test_the_row_of_a_failed_step_can_be_read_at_once(make: Callable[[Presence], Backend]) -> None:
    presence = presence_of_layers()
    backend = make(presence)
    step = measured(backend, 0)
    step.choose_none()
    found = backend.read(backend.row(step))
    assert found[:, TOKEN].tolist() == found[:, DONE].tolist() == [0.0] * SEQUENCES
    assert (every_step_columns(found[0][None], presence.layout)["hidden_l2_norm"] > 0.0).all()
    assert (found[:, 0] > 0.0).all()


def test_a_measured_step_refers_to_nothing_of_the_models(make: Callable[[Presence], Backend]) -> None:
    step = measured(make(presence_of_layers()), 0)
    assert (step.logits, step.hidden, step.attention, step.plan) == (None,) * 4
