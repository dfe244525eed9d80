"""Makes runs of SmolLM2-135M-Instruct, healthy and with planted faults, and keeps them in a folder.

python -m benchmarks.planted.collect FOLDER [healthy | faults]
"""

import pickle
import random
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, Run
from opentelemetry_instrumentation_corevital.loading.models import load_model

from .faults import FAULTS
from .store import Planted

BATCH = 16
HEALTHY_TOKENS, FAULT_TOKENS = 48, 32
LAYERS_PER_FAULT = 8

PROMPTS = Path(__file__).with_name("prompts.txt").read_text(encoding="utf-8").splitlines()


class _Keep:
    role = "keep"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def on_run_ending(self, _span: Any, run: Run) -> None:
        self.runs.append(run)


class Collector:
    """A model that generates, watched by the real instrumentor."""

    def __init__(self) -> None:
        self._loaded, self._keep = load_model("smollm2", device="cpu", dtype="float32"), _Keep()
        self._loaded.tokenizer.padding_side = "left"
        CoreVitalInstrumentor().instrument(
            judgements=[self._keep], capture_unsampled=True, attention_every=1, baseline="off"
        )
        self.layers = len(self._loaded.model.model.layers)

    def generate(
        self, prompts: list[int], tokens: int, *, sampled: bool, fault: str | None = None, layer: int | None = None
    ) -> list[Planted]:
        """Generate a batch of answers, with a fault where one is named."""
        messages = [[{"role": "user", "content": PROMPTS[prompt]}] for prompt in prompts]
        inputs = self._loaded.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
        )
        torch.manual_seed(prompts[0])
        options = {"temperature": 1.0, "top_p": 1.0, "top_k": 0} if sampled else {}
        planted: AbstractContextManager[None] = nullcontext()
        if fault is not None and layer is not None:
            planted = FAULTS[fault](self._loaded.model, layer)
        self._keep.runs.clear()
        with planted:
            try:
                self._loaded.model.generate(**inputs, max_new_tokens=tokens, do_sample=sampled, **options)
            except RuntimeError as error:  # sampling refuses what is not finite
                print(fault, layer, error, file=sys.stderr)
        return [
            Planted(run, prompt, sampled, fault, layer) for run, prompt in zip(self._keep.runs, prompts, strict=True)
        ]


def healthy(collector: Collector) -> Iterator[list[Planted]]:
    """Yield batches of runs without a fault, each prompt greedy and sampled."""
    for begin in range(0, len(PROMPTS), BATCH):
        prompts = list(range(begin, min(begin + BATCH, len(PROMPTS))))
        for sampled in (False, True):
            yield collector.generate(prompts, HEALTHY_TOKENS, sampled=sampled)


def faulty(collector: Collector) -> Iterator[list[Planted]]:
    """Yield batches of runs with a fault; layers are spread evenly, prompts drawn by a fixed seed."""
    chosen = random.Random(6)
    for turn in range(LAYERS_PER_FAULT):
        for number, fault in enumerate(FAULTS):
            layer = (turn * collector.layers // LAYERS_PER_FAULT + number) % collector.layers
            prompts = chosen.sample(range(len(PROMPTS)), BATCH // 2)
            yield collector.generate(prompts, FAULT_TOKENS, sampled=turn % 2 == 1, fault=fault, layer=layer)


def main() -> None:
    """Collect into the folder."""
    folder, kinds = Path(sys.argv[1]), sys.argv[2:] or ["healthy", "faults"]
    folder.mkdir(parents=True, exist_ok=True)
    collector, begin = Collector(), time.monotonic()
    for kind in kinds:
        for number, batch in enumerate((healthy if kind == "healthy" else faulty)(collector)):
            with Path(folder, f"{kind}-{number:03}.pickle").open("wb") as file:
                pickle.dump(batch, file)
            print(f"{time.monotonic() - begin:.0f} s {kind} {number}", batch[0].fault, batch[0].layer, flush=True)


if __name__ == "__main__":
    main()
