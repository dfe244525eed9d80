"""CUDA: the same numbers, the same tokens, no added wait for the device. Skipped where there is no GPU."""

import math

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital._internal.clock import Clock
from opentelemetry_instrumentation_corevital.capture.backends.backend import backend_for
from opentelemetry_instrumentation_corevital.capture.backends.kernel_backend import KernelBackend
from opentelemetry_instrumentation_corevital.capture.backends.torch_backend import TorchBackend
from opentelemetry_instrumentation_corevital.capture.collector.presence import Presence
from opentelemetry_instrumentation_corevital.capture.collector.step import Step
from opentelemetry_instrumentation_corevital.capture.row.host_transfer import RING_SLOTS, PinnedRows, transfer_for
from opentelemetry_instrumentation_corevital.run import COLUMNS, LOGIT_SIGNALS
from tests.support.cuda import cuda, synchronisations
from tests.support.in_memory import Keep, instrumented
from tests.support.reference import reference_signals
from tests.support.tiny_models import ARCHITECTURES, padded_batch, prompt, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize(
    "row",
    [
        [0.1 * (i % 37) - 1 for i in range(1000)],
        [3.0] * 500,
        [0.0] * 99 + [60.0],
        [-math.inf] * 40 + [1.0, 2.0],
        [math.nan, 1.0, 2.0],
        [math.inf, 1.0],
        [3e38, -3e38, 0.0],
    ],
    ids=["mixed", "constant", "one-hot", "masked", "nan", "inf", "huge"],
)
@pytest.mark.parametrize("kernels", [True, False])
def test_signals_on_the_device_equal_their_definition(row: list[float], kernels: bool) -> None:
    token = len(row) - 1
    logits = torch.tensor([row], device="cuda")
    carrier = transfer_for(logits.device, Clock())
    backend = backend_for(logits, Presence(0), carrier, kernels=kernels)
    assert isinstance(backend, KernelBackend if kernels else TorchBackend)
    step = Step(0, logits, edited=True)
    backend.measure(step)
    step.choose(torch.tensor([token], device="cuda"), torch.tensor([False], device="cuda"))
    carrier.push(backend.row(step))
    store = carrier.finish()
    store.width = len(COLUMNS)
    found, expected = dict(zip(COLUMNS, store.rows[0, 0].tolist(), strict=False)), reference_signals(row, token)
    for name in COLUMNS:
        want = expected[name]
        if name in LOGIT_SIGNALS and want > 3.4e38:
            want = math.inf
        assert found[name] == pytest.approx(want, rel=1e-5, abs=1e-5, nan_ok=True), name


def test_a_ring_keeps_every_row_also_when_the_host_runs_ahead() -> None:
    carrier = transfer_for(torch.device("cuda", 0), Clock())
    assert isinstance(carrier, PinnedRows)
    busy = torch.randn(4096, 4096, device="cuda")
    count = 10 * RING_SLOTS
    for step in range(count):
        busy = busy @ busy / 64  # the device is behind the host
        carrier.push(torch.full((2, 3), float(step), device="cuda"))
    store = carrier.finish()
    store.width = 3
    assert store.rows[:, 1, 2].tolist() == list(range(count))
    assert (np.diff(store.times) > 0).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_and_both_generators_are_bit_identical(architecture: str) -> None:
    model = tiny_model(architecture).cuda()
    for inputs in ({"input_ids": prompt()}, padded_batch()):
        for options in ({"do_sample": False}, {"do_sample": True, "top_k": 20}, {"cache_implementation": "static"}):
            outcomes = []
            for on in (False, True):
                torch.manual_seed(11)
                if on:
                    with instrumented() as telemetry:
                        tokens = model.generate(**cuda(inputs), max_new_tokens=16, **options)
                else:
                    tokens = model.generate(**cuda(inputs), max_new_tokens=16, **options)
                outcomes.append((tokens, torch.get_rng_state(), torch.cuda.get_rng_state()))
            for plain, found in zip(*outcomes, strict=True):
                assert torch.equal(plain, found), options
            assert all("corevital.entropy.mean" in (span.attributes or {}) for span in telemetry.spans[:1])


def test_steps_equal_output_logits_and_have_device_times() -> None:
    keep, model = Keep(), tiny_model().cuda()
    with instrumented(judgements=[keep]) as telemetry:
        result = model.generate(
            **cuda(padded_batch()),
            max_new_tokens=20,
            do_sample=True,
            return_dict_in_generate=True,
            output_logits=True,
        )
    call = telemetry.spans[-1]
    assert call.start_time is not None
    assert call.end_time is not None
    for row, run in enumerate(keep.runs):
        assert run.steps
        assert call.start_time < run.time_ns[0] < run.time_ns[-1] <= call.end_time + 1_000_000
        assert (np.diff(run.time_ns) > 0).all()
        for step in range(run.steps):
            expected = reference_signals(result.logits[step][row].double().tolist(), int(run.tokens[step]))
            for name in LOGIT_SIGNALS:
                assert run.columns[name][step] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), (name, step)


def test_no_step_adds_a_wait_for_the_device() -> None:
    model = tiny_model().cuda()
    plain = synchronisations(model, 60) - synchronisations(model, 20)
    with instrumented():
        watched = synchronisations(model, 60) - synchronisations(model, 20)
    assert plain > 0, "the count works: generate() itself waits at every step"
    assert watched == plain
