"""A first look at the verdicts: 48 ordinary prompts, SmolLM2-135M-Instruct, greedy, 192 tokens.

    python benchmarks/pilot.py [RESULT.json]

A run counts as degenerate when more than half of the 4-grams of its last 96 tokens occur more than once there: a
criterion over the finished text, not the online detector's rule. Two copies are enough for it, a loop needs three. For
text that repeats itself by right, the detector also reads 1,000 windows of the Python standard library's source.
48 runs say little about a rate of a few per cent; a labelled run set takes this file's place.
"""

import json
import platform
import random
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
from opentelemetry.trace import Span

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, Run
from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector
from opentelemetry_instrumentation_corevital.cli.models import load_model

BATCH = 8
NEW_TOKENS = 192

PROMPTS = """
Tell me everything about the history of the universe in great detail.
Write a long story about a dragon who lost his fire.
Explain how a bicycle stays upright.
Describe a typical day of a lighthouse keeper.
What makes bread rise?
Give me advice for my first job interview.
Write a letter to a friend who moved to another country.
Explain photosynthesis to a child.
Why do cats purr?
Describe the taste of an apple to someone who has never had one.
Write a short speech for a wedding.
How does a refrigerator keep food cold?
Tell me about the life of a honey bee.
What should I pack for a week of hiking?
Explain what a database index is.
Write a Python function that reverses a string, and explain it.
Describe the sound of rain on a tin roof.
How do I repot a house plant?
Tell me a story about two brothers who find a map.
What is the difference between weather and climate?
Explain recursion with an example.
Write a product description for a wooden chair.
Why is the sea salty?
How do I learn to play the guitar?
Describe a market in the early morning.
What happens when we sleep?
Write an essay about the value of patience, as long as you can.
Explain how vaccines work.
Tell me about the invention of the printing press.
How can I make my home more energy efficient?
Write a dialogue between a teacher and a curious student about stars.
What are the rules of chess?
Describe your favourite season and why.
How is paper made?
Tell me everything you know about whales, at great length.
Explain the water cycle.
Write a poem about an old train station.
What is a good way to remember names?
Describe how to change a bicycle tyre.
Explain why leaves change colour in autumn.
Write a long diary entry of a sailor on a calm sea.
How do magnets work?
Tell me about traditional ways of preserving food.
What makes a good friend?
Explain what open source software is.
Write a detailed history of tea.
How do birds find their way over long distances?
Describe an ideal library.
""".strip().splitlines()


class Keep:
    """A judgement that keeps the runs."""

    role = "keep"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def on_run_ending(self, _span: Span, run: Run) -> None:
        """Keep a run."""
        self.runs.append(run)


def degenerate(tokens: list[int]) -> bool:
    """Return the independent label of a finished run."""
    tail = tokens[-96:]
    grams = Counter(tuple(tail[i : i + 4]) for i in range(len(tail) - 3))
    repeated = sum(count for count in grams.values() if count > 1)
    return len(tail) == 96 and repeated > 0.5 * sum(grams.values())


def generate() -> list[Run]:
    """Generate all runs, judged."""
    loaded, keep = load_model("smollm2", device="cpu"), Keep()
    CoreVitalInstrumentor().instrument(judgements=[keep], capture_unsampled=True, attention_every=1)
    loaded.tokenizer.padding_side = "left"
    for begin in range(0, len(PROMPTS), BATCH):
        messages = [[{"role": "user", "content": prompt}] for prompt in PROMPTS[begin : begin + BATCH]]
        inputs = loaded.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
        )
        loaded.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        print(f"{len(keep.runs)} of {len(PROMPTS)} runs", file=sys.stderr)
    CoreVitalInstrumentor().uninstrument()
    return keep.runs


def windows_that_loop(tokenizer: Any, count: int = 1000) -> int:
    """Return how many windows of source code end inside what the detector takes for a loop."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    chosen, found = random.Random(0), 0
    for _ in range(count):
        text = chosen.choice(files).read_text(encoding="utf-8", errors="replace")
        begin = chosen.randrange(max(1, len(text) - 2000))
        detector, last = RepetitionDetector(), None
        for token in tokenizer(text[begin : begin + 2000])["input_ids"][:NEW_TOKENS]:
            last = detector.update(token)
        found += last is not None and last.loop
    return found


def raised(runs: list[Run], flag: str) -> int:
    """Return in how many runs a flag is raised."""
    return sum(bool(run.health and flag in run.health.raised()) for run in runs)


def summarize(runs: list[Run]) -> dict[str, Any]:
    """Return the figures."""
    labels = [degenerate(run.tokens.tolist()) for run in runs]
    flags = [bool(run.health and run.health.repetition_loop_detected) for run in runs]
    healthy = [run for run, label in zip(runs, labels, strict=True) if not label]
    hits = sum(flag and label for flag, label in zip(flags, labels, strict=True))
    warned: Counter[str] = Counter()
    for run in healthy:
        warned.update(run.early_warning.signals if run.early_warning else ())
    return {
        "runs": len(runs),
        "degenerate": sum(labels),
        "loop flag raised": sum(flags),
        "loop flag: recall": round(hits / max(1, sum(labels)), 3),
        "loop flag: precision": round(hits / max(1, sum(flags)), 3),
        "NaN or infinity flags": raised(runs, "nan_detected") + raised(runs, "inf_detected"),
        "attention collapse flags": raised(runs, "attention_collapse_detected"),
        "middle-layer anomaly flags": raised(runs, "mid_layer_anomaly_detected"),
        "runs that blame a layer": sum(bool(run.blame) for run in runs),
        "levels of degenerate runs": dict(
            Counter(run.risk.level for run, label in zip(runs, labels, strict=True) if label and run.risk)
        ),
        "levels of other runs": dict(Counter(run.risk.level for run in healthy if run.risk)),
        "other runs with a warning, by signal": dict(warned.most_common()),
        "disagreements": [
            {"prompt": prompt, "degenerate": label, "flag": flag}
            for prompt, label, flag in zip(PROMPTS, labels, flags, strict=True)
            if label != flag
        ],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


if __name__ == "__main__":
    code = windows_that_loop(load_model("smollm2", device="cpu").tokenizer)
    report = json.dumps({**summarize(generate()), "of 1000 windows of source code, loops": code}, indent=2)
    print(report)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(report + "\n", encoding="utf-8")
