"""The runs that docs/reading-a-run.md shows: a healthy one, and others that went wrong in a way that is known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from opentelemetry_instrumentation_corevital.loading.models import load_model
from opentelemetry_instrumentation_corevital.run import Run
from opentelemetry_instrumentation_corevital.testing import capture_runs

PROMPT = "Write a short story about a lighthouse keeper who finds a letter."
LOOPING = "Tell me everything about the history of the universe in great detail."
BREAKS = 40
"""The step at which the faults of single layers begin."""

Fault = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A run to make.

    Attributes:
        title: what the pictures call it.
        made: how it was made, as a sentence.
        prompt: the question.
        tokens: generated at most.
        temperature: None: greedy.
        fault: puts a fault into the model and returns what takes it out again.
    """

    title: str
    made: str
    prompt: str = PROMPT
    tokens: int = 160
    temperature: float | None = 0.7
    fault: Fault | None = None


def _times_eight(model: Any) -> Any:
    weight = model.model.layers[15].mlp.down_proj.weight
    weight.data.mul_(8)
    return lambda: weight.data.div_(8)


def _from_step(layer: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Fault:
    """Return a fault that changes a layer's output from step `BREAKS` on."""

    def put(model: Any) -> Any:
        seen = [0]

        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            seen[0] += 1
            if seen[0] <= BREAKS:
                return output
            first = output[0] if isinstance(output, tuple) else output
            changed = change(first)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return model.model.layers[layer].register_forward_hook(hook).remove

    return put


def _overflow(states: torch.Tensor) -> torch.Tensor:
    """Return the states with one value that float16 cannot hold."""
    states = states.clone()
    states[..., 5] = float("inf")
    return states


def _sharp_queries(model: Any) -> Any:
    """Multiply the queries of half the layers from step `BREAKS` on: each head then looks at one token."""
    handles = []
    for layer in model.model.layers[8:24]:
        seen = [0]

        def hook(_module: Any, _inputs: Any, output: torch.Tensor, seen: list[int] = seen) -> torch.Tensor:
            seen[0] += 1
            return output * 40 if seen[0] > BREAKS else output

        handles.append(layer.self_attn.q_proj.register_forward_hook(hook))
    return lambda: [handle.remove() for handle in handles]


CASES: dict[str, Case] = {
    "healthy": Case("healthy", "an ordinary request, temperature 0.7"),
    "loop": Case("a loop", "a question that this model loops on, greedy", LOOPING, 200, None),
    "hot": Case("too hot", "the healthy run's request at temperature 2.5", temperature=2.5),
    "layer": Case(
        "a broken layer",
        "the output weights of layer 15's MLP times 8, as a bad conversion leaves them",
        fault=_times_eight,
    ),
    "jump": Case(
        "a layer breaks on the way",
        f"the output of layer 15 times 3 from step {BREAKS} on",
        fault=_from_step(15, lambda states: states * 3),
    ),
    "overflow": Case(
        "an overflow",
        f"one value of layer 20's output is infinite from step {BREAKS} on, as when float16 overflows",
        temperature=None,
        fault=_from_step(20, _overflow),
    ),
    "queries": Case(
        "sharp queries",
        f"the queries of layers 8 to 23 times 40 from step {BREAKS} on, as a wrong scaling makes them",
        fault=_sharp_queries,
    ),
}


@dataclass(frozen=True, slots=True)
class Made:
    """A run that was made, and what it said."""

    case: Case
    run: Run
    text: str


def make_runs() -> Iterator[tuple[str, Made]]:
    """Yield each case with its run, of SmolLM2-135M-Instruct on the CPU."""
    loaded = load_model("smollm2", device="cpu")
    for name, case in CASES.items():
        question = [{"role": "user", "content": case.prompt}]
        inputs = loaded.tokenizer.apply_chat_template(
            question, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        sampling: dict[str, Any] = (
            {"do_sample": False}
            if case.temperature is None
            else {"do_sample": True, "temperature": case.temperature, "top_k": 0, "top_p": 1.0}
        )
        with (
            _fault(case, loaded.model),
            capture_runs(capture="full", baseline="auto") as captured,
            suppress(RuntimeError),
        ):
            torch.manual_seed(3)
            loaded.model.generate(**inputs, max_new_tokens=case.tokens, **sampling)
        (run,) = captured.runs
        yield name, Made(case, run, loaded.tokenizer.decode(run.tokens, skip_special_tokens=True))


@contextmanager
def _fault(case: Case, model: Any) -> Iterator[None]:
    take_out = case.fault(model) if case.fault else None
    try:
        yield
    finally:
        if take_out is not None:
            take_out()
