"""What a call of an arm leaves behind, and which call is no measurement."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from opentelemetry_instrumentation_corevital.overhead import bench as bench_module
from opentelemetry_instrumentation_corevital.overhead.arms import ARMS
from opentelemetry_instrumentation_corevital.overhead.bench import Bench
from opentelemetry_instrumentation_corevital.overhead.overhead_error import OverheadError
from opentelemetry_instrumentation_corevital.overhead.peak_memory import PeakMemory
from opentelemetry_instrumentation_corevital.overhead.random_prompt import random_prompt
from tests.support.tiny_models import tiny_model


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(tiny_model(scale=2.0), torch.full((1, 8), 20), 3)
    yield made
    made.telemetry.shutdown()


def test_an_arm_that_failed_inside_is_no_measurement(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "absences", lambda spans: {"attention": "internal error (TypeError)"})
    with pytest.raises(OverheadError, match="failed at attention"):
        bench.run(ARMS["summary"])
    assert bench.run(ARMS["plain"]).spans == 0, "everything has been taken back, else plain is refused"


def test_plain_is_refused_where_something_was_left(bench: Bench) -> None:
    hook = bench.model.lm_head.register_forward_hook(lambda *_: None)
    with pytest.raises(OverheadError, match="`plain` is not plain"):
        bench.run(ARMS["plain"])
    hook.remove()
    assert bench.run(ARMS["plain"]).tokens.shape == (1, 3)


def test_the_peak_of_the_process_begins_anew() -> None:
    with resident(40 << 20):
        with_it = PeakMemory(torch.device("cpu")).of_process()
    if not with_it:
        pytest.skip("this system does not tell")
    memory = PeakMemory(torch.device("cpu"))
    without = memory.of_process()
    assert with_it - without > 30 << 20
    with resident(40 << 20):
        pass
    assert memory.of_process() - without > 30 << 20
    assert memory.of_device() == 0


@contextmanager
def resident(size: int) -> Iterator[None]:
    """Map and touch `size` bytes, then give them back to the system at once, which `free` need not do."""
    with mmap.mmap(-1, size) as pages:
        pages.write(b"\1" * size)
        yield


def test_a_prompt_has_room_and_is_the_same_each_time() -> None:
    model = tiny_model(scale=2.0)
    first, second = (random_prompt(model, 2, 5, 4, seed=0) for _ in range(2))
    assert first.shape == (2, 5)
    assert torch.equal(first, second)
    with pytest.raises(OverheadError, match="positions: fewer than the 10 tokens of the prompt and the 99999 new"):
        random_prompt(model, 1, 10, 99999, seed=0)
