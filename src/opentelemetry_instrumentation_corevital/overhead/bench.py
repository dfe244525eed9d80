"""One `generate()` call of one arm, timed."""

import contextlib
import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from .. import semconv
from ..instrumentation.instrumentor import CoreVitalInstrumentor
from .arms import Arm
from .batch_telemetry import BatchTelemetry
from .overhead_error import OverheadError
from .peak_memory import PeakMemory
from .token_clock import TokenClock, now
from .untouched import Untouched

SETTLING_PROMPT, SETTLING_TOKENS = 8, 3
NAIVE_OUTPUTS: Final = dict.fromkeys(("return_dict_in_generate", "output_hidden_states", "output_attentions"), True)
PLAIN_DECODING: Final[Mapping[str, Any]] = {
    **{"do_sample": False, "num_beams": 1, "num_return_sequences": 1},
    **dict.fromkeys(("temperature", "top_p", "top_k")),
}
"""Whatever a checkpoint's generation config says: tokens are chosen one by one, the most probable each."""


@dataclass(frozen=True, slots=True)
class CallSample:
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
    process_peak: int
    """Bytes of this process's memory; 0 where the system does not tell."""
    tokens: Any
    spans: int
    logs: int
    absent: dict[str, str]
    """What the call's span says was not watched, and why."""


class Bench:
    """A model and a prompt, and a way to run them in every arm.

    Args:
        model: on its device.
        prompt: token ids [batch, length] on the same device.
        new_tokens: of a call.
        cache: `static` asks for a static one.
        twin: the model that the arm `naive` runs.
        settings: options of `instrument()` in every watched arm that does not say otherwise.
    """

    def __init__(
        self,
        model: Any,
        prompt: Any,
        new_tokens: int,
        cache: str = "dynamic",
        twin: Any = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.new_tokens = new_tokens
        self.options = {"cache_implementation": "static"} if cache == "static" else {}
        self.twin = twin
        self.settings = settings
        self.untouched = Untouched(model)
        self.telemetry = BatchTelemetry()
        self.on_call: Callable[[], None] = lambda: None
        """Called after each timed call, outside its time."""

    def run(self, arm: Arm, tokens: int | None = None) -> CallSample:
        """Switch to an arm, let it settle, and time one call."""
        with self.switched(arm):
            sample = self._timed(arm, tokens or self.new_tokens)
        self.on_call()
        return sample

    @contextlib.contextmanager
    def switched(self, arm: Arm) -> Iterator[None]:
        """Be in an arm, settled: the first call after instrument() puts the hooks in, which is not a cost of a call."""
        self.untouched.check()
        if arm.options is not None:
            providers = self.telemetry.providers(sampled=arm.sampled)
            CoreVitalInstrumentor().instrument(**providers, **{**self.settings, **arm.options})
        try:
            self.generate(arm, SETTLING_TOKENS, self.prompt[:, :SETTLING_PROMPT])
            yield
        finally:
            if arm.options is not None:
                CoreVitalInstrumentor().uninstrument()

    def generate(self, arm: Arm, tokens: int, prompt: Any | None = None) -> tuple[Any, TokenClock]:
        """Generate so many tokens with the bench's prompt or another."""
        import torch
        from transformers import StoppingCriteriaList

        prompt = self.prompt if prompt is None else prompt
        clock = TokenClock(tokens, prompt.shape[0], prompt.device)
        outputs: Mapping[str, bool] = NAIVE_OUTPUTS if arm.naive else {}
        padding = getattr(self.model.generation_config, "pad_token_id", None)
        result = (self.twin if arm.naive else self.model).generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            pad_token_id=0 if padding is None else padding,  # else transformers talks about it at every call
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            stopping_criteria=StoppingCriteriaList([clock]),
            **PLAIN_DECODING,
            **self.options,
            **outputs,
        )
        return result, clock

    def _timed(self, arm: Arm, wanted: int) -> CallSample:
        device, watched = self.prompt.device, arm.options is not None
        sent = self.telemetry.flush()
        gc.collect()  # so that nobody pays for what the call before has left
        memory = PeakMemory(device)
        begin, cpu = now(device), time.process_time()
        result, clock = self.generate(arm, wanted)
        end, cpu_end = now(device), time.process_time()
        peak, process_peak = memory.of_device(), memory.of_process()
        before = time.perf_counter()
        exported = self.telemetry.flush(metrics=watched)
        sending = time.perf_counter() - before if watched else 0.0
        spans, logs = (after - earlier for after, earlier in zip(exported, sent, strict=True))
        tokens = (result.sequences if arm.naive else result)[:, self.prompt.shape[1] :].cpu()
        if tokens.shape[1] != wanted:
            raise OverheadError(f"{arm.label}: {tokens.shape[1]} tokens instead of {wanted}")
        if bool(spans) != (watched and arm.sampled):
            # An instrumentation that has given up, or one that was not to run: another thing was measured.
            raise OverheadError(f"{arm.label}: {spans} spans were exported")
        absent = absences(self.telemetry.spans.last) if spans else {}
        if failed := [what for what, why in absent.items() if "internal error" in why]:
            raise OverheadError(f"{arm.label}: CoreVital failed at {', '.join(failed)}, which made it cheaper")
        return CallSample(
            wall=end - begin,
            cpu=cpu_end - cpu,
            first=clock.first - begin,
            decode=clock.last - clock.first,
            steps=clock.steps(),
            sending=sending,
            peak=peak,
            process_peak=process_peak,
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
