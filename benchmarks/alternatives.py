"""What the likeliest tokens of a step add to the signals of its logits, and what it takes to check a run's numbers.

    python benchmarks/alternatives.py [RESULT.json] [--rounds 60]

On the CPU by torch's operations, over the eight steps of a batch; on a CUDA device by the kernels, step by step, in the
device's time. Each figure is the least of the rounds, and the two ways take turns: neither has the quieter time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from opentelemetry_instrumentation_corevital.assessment.consistency import disagreements
from opentelemetry_instrumentation_corevital.capture.backends.batched_backend import STEPS
from opentelemetry_instrumentation_corevital.capture.definitions.logits import logit_signals
from opentelemetry_instrumentation_corevital.catalogue.alternative_names import RANKS

sys.path.append(str(Path(__file__).parent.parent))  # the runs of the tests
from tests.support.made_runs import agreeing_run

VOCABULARIES = (49_152, 128_256, 262_144)
RUNS = ((256, 32), (2000, 80))
"""Steps and layers of runs whose numbers are checked."""
Row = dict[str, float]


def drawn(rows: int, vocabulary: int, device: str) -> Tensor:
    """Return logits that have ties, as those of a half-precision model."""
    logits = torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(3)) * 4
    return logits.bfloat16().float().to(device)


def by_torch(vocabulary: int, rounds: int) -> Row:
    """Return the CPU time of a step's logit signals, without and with the likeliest tokens, in microseconds."""
    logits = drawn(STEPS, vocabulary, "cpu")

    def timed(alternatives: int) -> float:
        begin = time.thread_time_ns()
        logit_signals(logits, alternatives)
        return (time.thread_time_ns() - begin) / STEPS / 1e3

    return _compared(timed, rounds)


def by_kernels(vocabulary: int, sequences: int, rounds: int) -> Row:
    """Return the device's time of the logits' two kernels, without and with the likeliest tokens, in microseconds."""
    from opentelemetry_instrumentation_corevital.capture.backends.kernel_launches import Fused
    from opentelemetry_instrumentation_corevital.capture.row.layout import Layout

    device = torch.device("cuda", 0)
    logits = drawn(sequences, vocabulary, "cuda")
    tokens = torch.zeros(sequences, dtype=torch.int64, device=device)
    fused = {count: Fused(device, sequences, count) for count in (0, RANKS)}
    rows = {count: torch.empty(sequences, Layout(0, alternatives=count).start, device=device) for count in fused}

    def timed(alternatives: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(STEPS):
            fused[alternatives].logits(logits, edited=False)
            fused[alternatives].tokens(tokens, tokens.bool(), rows[alternatives], None)
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e3 / STEPS

    return _compared(timed, rounds)


def consistency(steps: int, layers: int, rounds: int) -> Row:
    """Return the CPU time in which the numbers of a run are held against each other, in microseconds."""
    run, times = agreeing_run(steps, layers), []
    for _ in range(rounds):
        begin = time.thread_time_ns()
        found = disagreements(run)
        times.append(time.thread_time_ns() - begin)
        assert not found, found
    return {"checked_us": round(min(times) / 1e3, 1)}


def _compared(timed: Callable[[int], float], rounds: int) -> Row:
    for count in (0, RANKS):  # what is compiled or allocated first
        timed(count)
    times = [(timed(0), timed(RANKS)) for _ in range(rounds)]
    without, with_them = (min(each) for each in zip(*times, strict=True))
    return {"without_us": round(without, 2), "with_us": round(with_them, 2)}


def measured(rounds: int) -> dict[str, Row]:
    """Return the figures of this machine, by name."""
    found = {f"CPU, vocabulary {size:,}": by_torch(size, rounds) for size in VOCABULARIES}
    found |= {
        f"numbers of {steps} steps, {layers} layers": consistency(steps, layers, rounds) for steps, layers in RUNS
    }
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        for sequences in (1, 32):
            key = f"{name}, {sequences} sequences"
            found |= {f"{key}, vocabulary {size:,}": by_kernels(size, sequences, rounds) for size in VOCABULARIES}
    return found


def main() -> None:
    """Measure and print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)  # else other threads' time is not this thread's
    found = measured(given.rounds)
    for name, row in found.items():
        print(f"{name:48}" + " -> ".join(f"{value:10,.1f} us" for value in row.values()))
    if given.result is not None:
        given.result.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
