"""How far the score of a split goes in runs among which nothing changes: the limits of `assessment/drift.py`.

    python benchmarks/drift_limits.py [docs/results/drift-limits.json] [--sequences 8000] [--device cpu]

Ranks of numbers that are drawn alike, one after the other, are a random permutation, whatever the numbers are. So the
sequences drawn here (seeded) stand for every signal without ties. After each run the largest score over all splits is
taken, as if somebody asked after each run, and the largest of these so far is kept. Its quantiles are the limits. On
one core of a CPU 1,000 sequences take half a minute.
"""

import argparse
import json
import platform
import sys
from typing import Any, Final

import torch

from opentelemetry_instrumentation_corevital.assessment.drift import FEWEST_AFTER, FEWEST_BEFORE, MOST_RUNS

MARKS: Final = (100, 200, 500, 1000, MOST_RUNS)
LEVELS: Final = (0.1, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001)
SEED: Final = 25


def largest_scores(sequences: int, generator: torch.Generator) -> dict[int, torch.Tensor]:
    """Return the largest score so far of each sequence [sequences], by number of runs."""
    device = generator.device
    drawn = torch.rand(sequences, MOST_RUNS, generator=generator, device=device)
    ranks = torch.zeros_like(drawn)
    largest = torch.zeros(sequences, device=device)
    found = {}
    for n in range(1, MOST_RUNS + 1):
        new = drawn[:, n - 1 : n]
        above = drawn[:, : n - 1] > new
        ranks[:, : n - 1] += above
        ranks[:, n - 1] = n - above.sum(1)
        if n >= FEWEST_BEFORE + FEWEST_AFTER:
            before = torch.arange(1, n + 1, device=device, dtype=torch.float64)
            expected = (before * (n + 1) / 2).float()
            spread = torch.sqrt(before * (n - before) * (n + 1) / 12).float()
            chosen = slice(FEWEST_BEFORE - 1, n - FEWEST_AFTER)
            scores = (ranks[:, :n].cumsum(1) - expected)[:, chosen].abs() / spread[chosen]
            largest = torch.maximum(largest, scores.amax(1))
        if n in MARKS:
            found[n] = largest.cpu()
    return found


def main(arguments: list[str]) -> None:
    """Draw, and write the quantiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?")
    parser.add_argument("--sequences", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args(arguments)
    generator = torch.Generator(chosen.device).manual_seed(SEED)
    parts = [
        largest_scores(min(chosen.batch, chosen.sequences - first), generator)
        for first in range(0, chosen.sequences, chosen.batch)
    ]
    whole = {n: torch.cat([part[n] for part in parts]).double().sort(descending=True).values for n in MARKS}
    result: dict[str, Any] = {
        "command": " ".join(["python benchmarks/drift_limits.py", *arguments]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if chosen.device.startswith("cuda") else "CPU",
        "sequences": chosen.sequences,
        "seed": SEED,
        "fewest_before": FEWEST_BEFORE,
        "fewest_after": FEWEST_AFTER,
        "limits": {
            str(n): {
                str(level): round(float(scores[int(level * chosen.sequences)]), 4)
                for level in LEVELS
                if level * chosen.sequences >= 5
            }
            for n, scores in whole.items()
        },
    }
    text = json.dumps(result, indent=2) + "\n"
    if chosen.out:
        with open(chosen.out, "w", encoding="utf-8") as file:
            file.write(text)
    print(text, end="")


if __name__ == "__main__":
    main(sys.argv[1:])
