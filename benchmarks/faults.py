"""Faults planted in SmolLM2-135M-Instruct: which flags see them, which layer is blamed, and how healthy runs fare.

    python benchmarks/faults.py [RESULT.json]

Each fault is a forward hook on one layer of the real model: one value of its output becomes NaN at step 20; its output
is multiplied at step 20 for one step; its attention is sharpened from step 20 on, so that every head of it, or of all
layers, rests on single keys. Greedy decoding of chat prompts, 48 tokens, batches of 8. The healthy runs are the same
prompts without a fault. A layer is blamed rightly if the first one that the run blames is the one with the fault.
"""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from opentelemetry.trace import Span

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, Run
from opentelemetry_instrumentation_corevital.cli.models import load_model

NEW_TOKENS, STEP = 48, 20
LAYERS = (2, 11, 15, 18, 27)

PROMPTS = """
What makes bread rise?
Describe a typical day of a lighthouse keeper.
How does a refrigerator keep food cold?
Write a letter to a friend who moved to another country.
Explain what a database index is.
Describe the sound of rain on a tin roof.
Why is the sea salty?
How is paper made?
""".strip().splitlines()


Change = Callable[[torch.Tensor], torch.Tensor]


class Keep:
    """A judgement that keeps the runs."""

    role = "keep"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def on_run_ending(self, _span: Span, run: Run) -> None:
        """Keep a run."""
        self.runs.append(run)


def with_nan(output: torch.Tensor) -> torch.Tensor:
    """Return a layer's output with one value that is NaN."""
    output = output.clone()
    output[:, -1, 7] = torch.nan
    return output


def scaled(factor: float) -> Change:
    """Return a change that multiplies a layer's output."""
    return lambda output: output * factor


@contextmanager
def at_step(model: Any, layer: int, change: Change) -> Iterator[None]:
    """Change a layer's output at one step."""
    calls = 0

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return change(output) if calls == STEP + 1 else output

    handle = model.model.layers[layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def sharpened(model: Any, layers: tuple[int, ...], factor: float = 40.0) -> Iterator[None]:
    """Multiply the queries of layers from a step on: their attention collapses onto single keys."""

    class Sharpen:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, _module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return output * factor if self.calls > STEP else output

    handles = [model.model.layers[layer].self_attn.q_proj.register_forward_hook(Sharpen()) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def generate(loaded: Any, keep: Keep) -> list[Run]:
    """Generate all prompts and return their judged runs."""
    messages = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    inputs = loaded.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
    )
    keep.runs.clear()
    loaded.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    return list(keep.runs)


def counted(runs: list[Run], layer: int | None) -> dict[str, int]:
    """Count what the runs' judgements say."""
    flags: dict[str, int] = {}
    for run in runs:
        for flag in run.health.raised() if run.health is not None else ():
            flags[flag] = flags.get(flag, 0) + 1
    blamed = [run.blame[0].layer for run in runs if run.blame]
    counts = {"runs": len(runs), **flags, "blaming a layer": len(blamed)}
    if layer is not None:
        counts["blaming the faulty layer first"] = blamed.count(layer)
    return counts


def main() -> None:
    """Plant every fault and write what was seen."""
    loaded, keep = load_model("smollm2", device="cpu"), Keep()
    loaded.tokenizer.padding_side = "left"
    CoreVitalInstrumentor().instrument(judgements=[keep], capture_unsampled=True, attention_every=1)
    results: dict[str, dict[str, int]] = {"healthy": counted(generate(loaded, keep), None)}
    faults = {"NaN": with_nan, **{f"output x {factor:g}": scaled(factor) for factor in (1.5, 3.0, 10.0)}}
    for name, change in faults.items():
        for layer in LAYERS:
            with at_step(loaded.model, layer, change):
                results[f"{name}, layer {layer}"] = counted(generate(loaded, keep), layer)
            print(f"{name}, layer {layer}", results[f"{name}, layer {layer}"], flush=True)
    every = tuple(range(len(loaded.model.model.layers)))
    for name, layers in (("attention of all layers sharpened", every), ("attention of layer 15 sharpened", (15,))):
        with sharpened(loaded.model, layers):
            results[name] = counted(generate(loaded, keep), layers[0] if len(layers) == 1 else None)
        print(name, results[name], flush=True)
    report = {
        "command": "python benchmarks/faults.py",
        "model": "SmolLM2-135M-Instruct, float32",
        "tokens": NEW_TOKENS,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "results": results,
    }
    text = json.dumps(report, indent=2)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(f"{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
