"""Generate the runs of the run set with SmolLM2-135M-Instruct and write what was measured, in shards.

    python benchmarks/runset/collect.py OUT                     # all prompts, batched; minutes on a GPU
    python benchmarks/runset/collect.py OUT --limit 8 --device cpu

It decodes with `generate()` and takes every number from CoreVital's own definitions (`capture/definitions`) on the raw
logits of the batch. Runs with layer data are in the zoo.
Weights: the file that COREVITAL_SMOLLM2_GGUF names, else the demo model of `corevital run --model smollm2`.
A shard is one .npz for each batch: runs end to end, `offsets` says where each begins.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "src"))

from opentelemetry_instrumentation_corevital.capture.definitions.hidden_states import cosine  # noqa: E402
from opentelemetry_instrumentation_corevital.capture.definitions.logits import LogitSignals, logit_signals, surprisal  # noqa: E402

MEASURED = ("entropy", "surprisal", "margin", "top1_prob", "topk_mass", "hidden_cosine")
BATCH = 600


@dataclass(frozen=True, slots=True)
class Plan:
    """One way of decoding, and which classes of prompts are decoded so."""

    name: str
    classes: tuple[str, ...]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def options(self) -> dict[str, Any]:
        """Return the keywords of `generate()`."""
        if not self.temperature:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}


LONG = ("long", "free", "repeat")
PLANS = (
    Plan("greedy", LONG, 512),
    Plan("sampled", LONG, 512, temperature=0.7, top_p=0.95, seed=1001),
    Plan("short-greedy", ("short",), 64),
    Plan("short-sampled", ("short",), 64, temperature=0.7, top_p=0.95, seed=1002),
    Plan("hot", LONG, 512, temperature=1.0, seed=1003),
)


class Measure(LogitsProcessor):  # type: ignore[misc]
    """Takes CoreVital's numbers of every step; a logits processor of the caller sees the raw logits first."""

    def __init__(self, last_layer: Any) -> None:
        self._steps: list[Tensor] = []
        self._open: tuple[LogitSignals, Tensor] | None = None
        self._hidden: Tensor | None = None
        self._cosine = torch.empty(0)
        last_layer.register_forward_hook(self._layer)

    def _layer(self, _module: Any, _args: Any, output: Any) -> None:
        hidden = (output if isinstance(output, Tensor) else output[0])[:, -1].float()
        nothing = torch.full(hidden.shape[:1], torch.nan, device=hidden.device)
        self._cosine = nothing if self._hidden is None else cosine(hidden, self._hidden)
        self._hidden = hidden

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Measure this step's logits, and the surprisal of the token chosen at the step before."""
        self._close(input_ids[:, -1])
        self._open = logit_signals(scores), self._cosine
        return scores

    def _close(self, chosen: Tensor) -> None:
        if self._open is None:
            return
        (signals, cosines), self._open = self._open, None
        found = (signals.entropy, surprisal(signals, chosen), signals.margin, signals.top1_prob, signals.topk_mass)
        self._steps.append(torch.stack((*found, cosines), -1))

    def take(self, last_tokens: Tensor) -> np.ndarray:
        """Return the batch's numbers [N, T, signals] and be ready for the next one."""
        self._close(last_tokens)
        rows = torch.stack(self._steps, 1).cpu().numpy()
        self._steps, self._hidden = [], None
        return rows


def load(device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the model and its tokenizer."""
    gguf = os.environ.get("COREVITAL_SMOLLM2_GGUF")
    if gguf:
        source = {"pretrained_model_name_or_path": str(Path(gguf).parent), "gguf_file": Path(gguf).name}
        model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=dtype)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    else:
        from opentelemetry_instrumentation_corevital.loading.models import load_model

        loaded = load_model("smollm2", device="cpu")
        model, tokenizer = loaded.model, loaded.tokenizer
    return model.to(device=device, dtype=dtype).eval(), tokenizer


def encode(tokenizer: Any, prompt: dict[str, Any]) -> list[int]:
    """Return a prompt's token ids."""
    if "text" in prompt:
        return list(tokenizer(prompt["text"])["input_ids"])
    text = tokenizer.apply_chat_template(prompt["messages"], add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def padded(prompts: Sequence[list[int]], pad: int, device: str) -> dict[str, Tensor]:
    """Return prompts padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return {"input_ids": ids, "attention_mask": mask}


def lengths(tokens: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how long each row [N, T] is, its end token counted, and whether it has one."""
    ends = tokens == end
    stopped = ends.any(1)
    return np.where(stopped, ends.argmax(1) + 1, tokens.shape[1]), stopped


def batches(prompts: list[dict[str, Any]], plan: Plan, size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield a plan's prompts in batches."""
    chosen = [prompt for prompt in prompts if prompt["class"] in plan.classes]
    for begin in range(0, len(chosen), size):
        yield chosen[begin : begin + size]


def collect(model: Any, tokenizer: Any, prompts: list[dict[str, Any]], args: argparse.Namespace) -> int:
    """Run until all is done or the time is up; return the number of runs."""
    measure, began, count = Measure(model.model.layers[-1]), time.monotonic(), 0
    end = model.generation_config.eos_token_id
    for plan in PLANS:
        for number, batch in enumerate(batches(prompts, plan, args.batch)):
            if time.monotonic() - began > args.seconds:
                print(f"time is up before {plan.name} {number}", flush=True)
                return count
            inputs = padded([encode(tokenizer, prompt) for prompt in batch], end, args.device)
            torch.manual_seed(plan.seed + number)
            with torch.inference_mode():
                ids = model.generate(
                    **inputs,
                    **plan.options(),
                    max_new_tokens=min(plan.max_new_tokens, args.max_new_tokens),
                    pad_token_id=end,
                    logits_processor=LogitsProcessorList([measure]),
                )
            tokens = ids[:, inputs["input_ids"].shape[1] :]
            rows, tokens = measure.take(tokens[:, -1]), tokens.cpu().numpy()
            steps, stopped = lengths(tokens, end)
            keep = np.arange(tokens.shape[1]) < steps[:, None]
            numbers = dict(zip(MEASURED, np.moveaxis(rows[keep], -1, 0), strict=True))
            save(
                args.out / f"runs-{plan.name}-{number}.npz",
                {**about(model, args), "plan": {**asdict(plan), "seed": plan.seed + number}},
                prompt=np.array([prompt["id"] for prompt in batch], np.int32),
                input_tokens=inputs["attention_mask"].sum(1).cpu().numpy().astype(np.int32),
                offsets=np.concatenate(([0], steps.cumsum())).astype(np.int64),
                stopped=stopped,
                tokens=tokens[keep].astype(np.uint16),
                **{name: column.astype(np.float16) for name, column in numbers.items()},
            )
            count += len(batch)
            print(f"{plan.name} {number}: {len(batch)} runs, {keep.sum()} tokens, {stopped.sum()} ended by themselves, "
                  f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    return count


def about(model: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Return where and with what a shard is made."""
    cuda = args.device.startswith("cuda")
    return {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct (GGUF Q4_1, dequantised)",
        "prompts_sha256": hashlib.sha256((HERE / "prompts.json").read_bytes()).hexdigest(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def save(path: Path, meta: dict[str, Any], **arrays: np.ndarray) -> None:
    """Write a shard."""
    np.savez_compressed(path, meta=np.array(json.dumps(meta)), **arrays)  # type: ignore[arg-type]


def main() -> None:
    """Collect."""
    parser = argparse.ArgumentParser(description="Generate the runs of the run set.")
    parser.add_argument("out", type=Path, help="folder of the shards")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--limit", type=int, help="only so many prompts, of every class")
    parser.add_argument("--max-new-tokens", type=int, default=512, help="at most so many in every run")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no batch after so many seconds")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    prompts = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
    if args.limit:
        kinds = list(dict.fromkeys(prompt["class"] for prompt in prompts))
        each = -(-args.limit // len(kinds))
        prompts = [p for kind in kinds for p in [p for p in prompts if p["class"] == kind][:each]][: args.limit]
    model, tokenizer = load(args.device, getattr(torch, args.dtype))
    print(f"loaded on {args.device} as {args.dtype}", flush=True)
    count = collect(model, tokenizer, prompts, args)
    print(f"{count} runs in {args.out}")


if __name__ == "__main__":
    main()
