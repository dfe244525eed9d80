"""What CoreVital's own functions take of a call on the host, each timed in place.

The timer itself takes a few tenths of a microsecond of every call of a function, of which a step has some sixty; what
happens outside these functions (torch runs modules with hooks another way, attention passes through a wrapper) is not
in it. The timed rounds say what all of it costs; this says where.
"""

import contextlib
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from opentelemetry_instrumentation_corevital.capture.attach.module_hooks import LayerHook
from opentelemetry_instrumentation_corevital.capture.collector.step_attention import StepAttention
from opentelemetry_instrumentation_corevital.capture.session.session import Session
from opentelemetry_instrumentation_corevital.config import SUMMARY_ATTENTION_EVERY
from opentelemetry_instrumentation_corevital.instrumentation.recorder import Recorder
from opentelemetry_instrumentation_corevital.instrumentation.recording import Recording
from opentelemetry_instrumentation_corevital.overhead.arms import ARMS
from opentelemetry_instrumentation_corevital.overhead.bench import Bench

IN_STEPS: Final = {
    "layers": (LayerHook, "__call__"),
    "attention": (StepAttention, "_inspect"),
    "logits": (Session, "on_logits"),
    "tokens": (Session, "on_tokens"),
}
"""What runs at every step; `tokens` ends it. Attention that is like that of the step before is only put on a list."""
AROUND: Final = {"begin": (Recorder, "_begin"), "end": (Recording, "end"), "close": (Session, "close")}
"""What runs once; `close`, which waits for the last row and makes the runs of it, is part of `end`."""
CALLS: Final = 6
"""Of which the first is not counted."""

Marks = list[Counter[str]]


class Stopwatch:
    """Seconds that functions took, step by step, and around the steps."""

    def __init__(self) -> None:
        self.steps: Marks = [Counter()]
        self.around: Counter[str] = Counter()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is timed under a name."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                marks = self.around if name in AROUND else self.steps[-1]
                marks[name] += time.perf_counter() - begin
                if name == "tokens":
                    self.steps.append(Counter())

        return timed


@contextlib.contextmanager
def watched() -> Iterator[Stopwatch]:
    """Time the functions while this is open."""
    stopwatch, before = Stopwatch(), []
    try:
        for name, (owner, attribute) in (IN_STEPS | AROUND).items():
            before.append((owner, attribute, getattr(owner, attribute)))
            setattr(owner, attribute, stopwatch.timed(name, before[-1][2]))
        yield stopwatch
    finally:
        for owner, attribute, function in before:
            setattr(owner, attribute, function)


def account(bench: Bench, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for every arm with CoreVital microseconds: of a call, of its first step, and of one of the later ones."""
    found = {}
    for name in names:
        arm = ARMS[name]
        if arm.options is None or not arm.sampled:
            continue
        calls = []
        with bench.switched(arm):
            for _ in range(CALLS):
                with watched() as stopwatch:
                    bench.generate(arm, bench.new_tokens)
                calls.append(stopwatch)
                bench.telemetry.flush()
        found[name] = summed(calls[1:])
    return found


def summed(calls: Sequence[Stopwatch]) -> dict[str, float]:
    """Return medians over calls, in microseconds."""
    found = {f"call_{name}": statistics.median(call.around[name] for call in calls) for name in AROUND}
    found |= {f"first_{name}": statistics.median(call.steps[0][name] for call in calls) for name in IN_STEPS}
    later = [step for call in calls for step in phases(call.steps[1:-1])]
    if later:
        found |= {f"step_{name}": statistics.fmean(step[name] for step in later) for name in IN_STEPS}
    return {name: round(1e6 * seconds, 1) for name, seconds in found.items()}


def phases(steps: Marks) -> Marks:
    """Return a typical step of each phase of the period in which `summary` looks at attention."""
    by_phase = [steps[phase::SUMMARY_ATTENTION_EVERY] for phase in range(SUMMARY_ATTENTION_EVERY)]
    return [
        Counter({name: statistics.median(step[name] for step in alike) for name in IN_STEPS})
        for alike in by_phase
        if alike
    ]
