"""What remembering the prompt adds to a tokenizer's call.

    python benchmarks/tokenizing.py [RESULT.json] [--rounds 15]

With the demo model's tokenizer, on words of the README, in CPU time of the calling thread. What CoreVital does after
the tokenizer has returned is timed by itself, on the same result: against the tokenizer's own time it is too little to
be told from the noise between two whole calls. Each figure is the least of the rounds.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry_instrumentation_corevital.instrumentation.callers import tokenized
from opentelemetry_instrumentation_corevital.instrumentation.prompt_memory import ROWS_OF_A_CALL, recent_prompts

WORDS = (Path(__file__).parents[1] / "README.md").read_text("utf-8").split()


def sentence(words: int, seed: int) -> str:
    """Return a text of so many words."""
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def cases(size: int = ROWS_OF_A_CALL) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return what is tokenised, by name: the text or texts, and the call's options.

    Args:
        size: texts of a batch that is remembered.
    """
    batch = [sentence(80, seed) for seed in range(size)]
    return {
        "a text of 8 words": (sentence(8, 0), {}),
        "a text of 8 words, as tensors": (sentence(8, 0), {"return_tensors": "pt"}),
        "a text of 300 words": (sentence(300, 0), {}),
        "a text of 6000 words": (sentence(6000, 0), {}),
        "a batch": (batch, {}),
        "a batch, padded, as tensors": (batch, {"padding": True, "return_tensors": "pt"}),
        "a batch, padded": (batch, {"padding": True}),
        "a batch, cut": (batch, {"padding": "max_length", "truncation": True, "max_length": 64}),
        "a data set": ([sentence(80, seed) for seed in range(4 * ROWS_OF_A_CALL)], {}),
    }


def measured(tokenizer: Any, text: Any, options: dict[str, Any], rounds: int) -> dict[str, float]:
    """Return the microseconds that the tokenizer's call takes, those that we add, and the prompts that we keep."""
    recent_prompts.clear()
    result = tokenizer(text, **options)
    own = least(lambda: tokenizer(text, **options), rounds)
    ours = least(lambda: tokenized(lambda *_, **__: result, tokenizer, (text,), options), rounds)
    kept = len(recent_prompts)
    recent_prompts.clear()
    return {"tokenizer_us": round(own, 1), "added_us": round(ours, 1), "added": round(ours / own, 4), "kept": kept}


def least(work: Callable[[], Any], rounds: int) -> float:
    """Return the CPU time of this thread that some work takes, in microseconds."""
    times = []
    for _ in range(rounds):
        begin = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - begin)
    return min(times) / 1e3


def main() -> None:
    """Measure and print, and write what was asked for."""
    from transformers import AutoTokenizer

    from opentelemetry_instrumentation_corevital.loading.models import demo_model_path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # else its own threads' time is not this thread's
    tokenizer = AutoTokenizer.from_pretrained(str(demo_model_path()))
    tokenizer.pad_token = tokenizer.eos_token
    found = {name: measured(tokenizer, *case, given.rounds) for name, case in cases().items()}
    for name, row in found.items():
        print(f"{name:32}{row['tokenizer_us']:12,.1f} us + {row['added_us']:9,.1f} us = {row['added']:6.1%}")
    if given.result is not None:
        given.result.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
