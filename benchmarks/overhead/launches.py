"""What one decode step asks of the host and the device, by torch's profiler.

Two calls of different length are profiled and subtracted, so that the prefill and the ends of the call fall out. Their
difference is a multiple of the period in which `summary` looks at attention.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from opentelemetry_instrumentation_corevital.config import SUMMARY_ATTENTION_EVERY
from opentelemetry_instrumentation_corevital.overhead.arms import ARMS, Arm
from opentelemetry_instrumentation_corevital.overhead.bench import Bench

SHORT = 1 + SUMMARY_ATTENTION_EVERY
LONG = SHORT + 2 * SUMMARY_ATTENTION_EVERY

Counts = Counter[str]


def account(bench: Bench, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for every arm what a step adds up to, on average."""
    found = {}
    for name in names:
        arm = ARMS[name]
        with bench.switched(arm):
            found[name] = per_step(lambda tokens, arm=arm: profiled(bench, arm, tokens))
            if bench.prompt.is_cuda:
                found[name] |= per_step(lambda tokens, arm=arm: waits(bench, arm, tokens))
    return found


def per_step(counted: Callable[[int], Counts]) -> dict[str, float]:
    """Return the counts of one step, from a short call and a long one."""
    short, long = counted(SHORT), counted(LONG)
    return {key: round((long[key] - short[key]) / (LONG - SHORT), 3) for key in long}


def profiled(bench: Bench, arm: Arm, tokens: int) -> Counts:
    """Count what a call does."""
    cuda = bench.prompt.is_cuda
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        bench.generate(arm, tokens)
        if cuda:
            torch.cuda.synchronize()
    return counts(profiler.events(), cuda=cuda)


def counts(events: Any, *, cuda: bool) -> Counts:
    """Count a profile's events by kind; what did not happen is there with 0."""
    kinds = ("launches", "kernels", "memcpy", "memset", "cuda_us") if cuda else ()
    found: Counts = Counter(dict.fromkeys(("aten_ops", *kinds), 0))
    for event in events:
        if event.device_type != DeviceType.CPU:
            if getattr(event, "is_user_annotation", False):
                continue
            found[_device_kind(event.name)] += 1
            found["cuda_us"] += event.time_range.elapsed_us()
        elif event.name.startswith("aten::"):
            found["aten_ops"] += 1
        elif cuda and "LaunchKernel" in event.name:
            found["launches"] += 1
    return found


def _device_kind(name: str) -> str:
    for prefix in ("Memcpy", "Memset"):
        if name.startswith(prefix):
            return prefix.lower()
    return "kernels"


def waits(bench: Bench, arm: Arm, tokens: int) -> Counts:
    """Count how often a call makes the host wait for the device, the clock's own two waits left out by `per_step`."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bench.generate(arm, tokens)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Counter({"waits": sum("synchroniz" in str(warning.message) for warning in caught)})
