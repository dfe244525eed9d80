"""How late an event loop is while a stream is read in it, compared with the same generate() without CoreVital.

    python benchmarks/event_loop.py [RESULT.json] [--turns 12] [--tokens 64] [--model smollm2]

A task asks the loop to be woken every millisecond and notes by how much it comes too late. Meanwhile one of three arms
generates the same tokens: `plain`, generate() in a thread; `control`, the same once more, so that two figures without
CoreVital can be compared; `stream`, `async for step in monitor.stream(...)`. The arms take turns, each turn in another
order. What counts is the 99.9th percentile of `stream` less that of `plain`, with the interval of a bootstrap over the
turns; the same of `control` says how much of it is noise.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from opentelemetry_instrumentation_corevital.loading.models import load_model

PROMPT: Final = "Write a short story about a lighthouse keeper and her dog."
TICK: Final = 0.001
PERCENTILES: Final = (50.0, 99.0, 99.9)
GOAL_MS: Final = 2.0
RESAMPLES: Final = 2000

Arm = Callable[[], Awaitable[None]]


async def lateness_during(arm: Arm) -> list[float]:
    """Return by how many seconds the loop was late at each tick while an arm ran."""
    late, over = list[float](), asyncio.Event()

    async def tick() -> None:
        while not over.is_set():
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append(time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    try:
        await arm()
    finally:
        over.set()
        await ticking
    return late


def arms_of(name: str, tokens: int) -> dict[str, Arm]:
    """Return the arms; all of them generate the same tokens."""
    loaded = load_model(name, device="cpu")
    model, tokenizer = loaded.model, loaded.tokenizer
    encoded = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    options: dict[str, Any] = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    monitor = CoreVitalMonitor()

    async def plain() -> None:
        await asyncio.to_thread(model.generate, **encoded, **options)

    async def stream() -> None:
        steps = [step async for step in monitor.stream(model, encoded, tokenizer=tokenizer, **options)]
        assert len(steps) == tokens

    return {"plain": plain, "control": plain, "stream": stream}


async def measured(arms: dict[str, Arm], turns: int) -> dict[str, list[list[float]]]:
    """Return the lateness of each arm, turn by turn."""
    for arm in arms.values():
        await arm()
    found: dict[str, list[list[float]]] = {name: [] for name in arms}
    orders = list(permutations(arms))
    for turn in range(turns):
        for name in orders[turn % len(orders)]:
            found[name].append(await lateness_during(arms[name]))
    return found


def percentile_ms(turns: list[list[float]], percentile: float) -> float:
    """Return a percentile over all ticks of some turns, in milliseconds."""
    return 1000 * float(np.percentile(np.concatenate(turns), percentile))


def difference(found: dict[str, list[list[float]]], arm: str, percentile: float) -> dict[str, float]:
    """Return how much later the loop is than with `plain`, in milliseconds, with its 95 % interval."""
    chance, count = np.random.default_rng(0), len(found["plain"])
    drawn = []
    for _ in range(RESAMPLES):
        picked = chance.integers(count, size=count)
        both = ([found[name][turn] for turn in picked] for name in (arm, "plain"))
        later, plain = (percentile_ms(each, percentile) for each in both)
        drawn.append(later - plain)
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = percentile_ms(found[arm], percentile) - percentile_ms(found["plain"], percentile)
    return {"ms": round(value, 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--model", default="smollm2")
    wanted = parser.parse_args()
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # a monitor learns its model's baseline: not into the user's
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))  # one core is the loop's
    found = asyncio.run(measured(arms_of(wanted.model, wanted.tokens), wanted.turns))
    result = {
        "turns": wanted.turns,
        "tokens": wanted.tokens,
        "model": wanted.model,
        "ticks": {arm: sum(map(len, turns)) for arm, turns in found.items()},
        "lateness_ms": {
            arm: {f"p{percentile:g}": round(percentile_ms(turns, percentile), 3) for percentile in PERCENTILES}
            for arm, turns in found.items()
        },
        "p99.9_over_plain": {arm: difference(found, arm, 99.9) for arm in ("control", "stream")},
        "goal_ms": GOAL_MS,
        "machine": {
            "cpu_count": os.cpu_count(),
            "load": [round(each, 2) for each in os.getloadavg()],
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "switch_interval": sys.getswitchinterval(),
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if wanted.result is not None:
        wanted.result.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
