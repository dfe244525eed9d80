"""One generate() call of one arm, timed."""

import contextlib
import gc
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from cases import Arm
from errors import BenchmarkError
from models import eager_twin
from telemetry import Telemetry
from torch import Tensor
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.generation.utils import GenerationMixin
from transformers.modeling_utils import AttentionInterface

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, semconv

SETTLING_PROMPT, SETTLING_TOKENS = 8, 3
NAIVE_OUTPUTS: Final = dict.fromkeys(("return_dict_in_generate", "output_hidden_states", "output_attentions"), True)


class Untouched:
    """The library and the model as they were before CoreVital was there."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.state = self._state()

    def check(self) -> None:
        """Raise if anything that an arm may have changed is not as it was: `plain` would not be plain."""
        if self._state() != self.state:
            raise BenchmarkError("something was left in transformers or in the model: `plain` is not plain")

    def _state(self) -> tuple[Any, ...]:
        methods = {name: id(value) for name, value in vars(GenerationMixin).items()}
        attention = {name: id(value) for name, value in AttentionInterface._global_mapping.items()}
        hooks = sum(
            len(module._forward_hooks) + len(module._forward_pre_hooks) + ("forward" in vars(module))
            for module in self.model.modules()
        )
        return methods, attention, hooks, self.model.config._attn_implementation


class Clock(StoppingCriteria):
    """Marks every token, and waits for the device at the first and the last only; the same in every arm."""

    def __init__(self, tokens: int, batch: int, device: torch.device) -> None:
        self.tokens = tokens
        self.device = device
        self.never = torch.zeros(batch, dtype=torch.bool, device=device)
        # Made before the call, so that marking a token is one call to the driver.
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(tokens)] if device.type == "cuda" else []
        self.times: list[float] = []
        self.seen = 0
        self.first = self.last = math.nan

    def __call__(self, _input_ids: Tensor, _scores: Any, **_kwargs: Any) -> Tensor:
        """Mark a token; stop nothing."""
        if self.events:
            self.events[self.seen].record()
        else:
            self.times.append(time.perf_counter())
        self.seen += 1
        if self.seen == 1:
            self.first = now(self.device)
        if self.seen == self.tokens:
            self.last = now(self.device)
        return self.never

    def steps(self) -> list[float]:
        """Return the seconds from each token to the next; the device has to be done."""
        if self.events:
            pairs = zip(self.events, self.events[1:], strict=False)
            return [before.elapsed_time(after) / 1e3 for before, after in pairs]
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


def now(device: torch.device) -> float:
    """Return the time at which the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True, slots=True)
class Sample:
    """What one generate() call took, in seconds."""

    wall: float
    cpu: float
    first: float
    """To the first token."""
    decode: float
    """From the first token to the last."""
    steps: list[float]
    sending: float
    """Encoding and sending the call's telemetry, after the call."""
    peak: int
    """Bytes of device memory; 0 on the CPU."""
    tokens: Tensor
    spans: int
    logs: int
    absent: dict[str, str]
    """What the call's span says was not watched, and why."""


class Bench:
    """A model and a prompt, and a way to run them in every arm."""

    def __init__(self, model: Any, prompt: Tensor, new_tokens: int, cache: str, *, naive: bool) -> None:
        self.model = model
        self.prompt = prompt
        self.new_tokens = new_tokens
        self.options = {"cache_implementation": "static"} if cache == "static" else {}
        self.twin = eager_twin(model) if naive else None
        self.untouched = Untouched(model)
        self.telemetry = Telemetry()

    def run(self, arm: Arm, tokens: int | None = None) -> Sample:
        """Switch to an arm, let it settle, and time one call."""
        with self.switched(arm):
            return self._timed(arm, tokens or self.new_tokens)

    @contextlib.contextmanager
    def switched(self, arm: Arm) -> Iterator[None]:
        """Be in an arm, settled: the first call after instrument() puts the hooks in, which is not a cost of a call."""
        self.untouched.check()
        if arm.options is not None:
            CoreVitalInstrumentor().instrument(**self.telemetry.providers(sampled=arm.sampled), **arm.options)
        try:
            self.generate(arm, SETTLING_TOKENS, self.prompt[:, :SETTLING_PROMPT])
            yield
        finally:
            if arm.options is not None:
                CoreVitalInstrumentor().uninstrument()

    def generate(self, arm: Arm, tokens: int, prompt: Tensor | None = None) -> tuple[Any, Clock]:
        """Generate so many tokens with the bench's prompt or another."""
        prompt = self.prompt if prompt is None else prompt
        clock = Clock(tokens, prompt.shape[0], prompt.device)
        outputs: Mapping[str, bool] = NAIVE_OUTPUTS if arm.naive else {}
        result = (self.twin if arm.naive else self.model).generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            stopping_criteria=StoppingCriteriaList([clock]),
            **self.options,
            **outputs,
        )
        return result, clock

    def _timed(self, arm: Arm, wanted: int) -> Sample:
        device, watched = self.prompt.device, arm.options is not None
        sent = self.telemetry.flush()
        gc.collect()  # so that nobody pays for what the call before has left
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begin, cpu = now(device), time.process_time()
        result, clock = self.generate(arm, wanted)
        end, cpu_end = now(device), time.process_time()
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        before = time.perf_counter()
        exported = self.telemetry.flush(metrics=watched)
        sending = time.perf_counter() - before if watched else 0.0
        spans, logs = (after - earlier for after, earlier in zip(exported, sent, strict=True))
        tokens = (result.sequences if arm.naive else result)[:, self.prompt.shape[1] :].cpu()
        if tokens.shape[1] != wanted:
            raise BenchmarkError(f"{arm.label}: {tokens.shape[1]} tokens instead of {wanted}")
        if bool(spans) != (watched and arm.sampled):
            # An instrumentation that has given up, or one that was not to run: another thing was measured.
            raise BenchmarkError(f"{arm.label}: {spans} spans were exported")
        absent = absences(self.telemetry.spans.last) if spans else {}
        if failed := [what for what, why in absent.items() if "internal error" in why]:
            raise BenchmarkError(f"{arm.label}: CoreVital failed at {', '.join(failed)}, which made it cheaper")
        return Sample(
            wall=end - begin,
            cpu=cpu_end - cpu,
            first=clock.first - begin,
            decode=clock.last - clock.first,
            steps=clock.steps(),
            sending=sending,
            peak=peak,
            tokens=tokens,
            spans=spans,
            logs=logs,
            absent=absent,
        )


def absences(spans: Sequence[Any]) -> dict[str, str]:
    """Return what a call's spans say was not watched: in a batch every sequence has its own."""
    found: dict[str, str] = {}
    for span in spans:
        found |= json.loads(span.attributes.get(semconv.CAPTURE_ABSENT, "{}"))
    return {name: reason for name, reason in found.items() if name in ("hidden_states", "attention", "entropy")}
