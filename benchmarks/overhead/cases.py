"""The named cases: a workload, the arms that are compared in it, and what they may cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ENOUGH_PAIRS: Final = 30
"""What a figure that is held against a goal is made of, at least."""

MEASURES: Final[dict[str, str]] = {
    "call": "whole call, ratio",
    "first": "to the first token, ratio",
    "step": "decode step, ratio",
    "added_ms": "added per call, ms",
    "added_mib": "added peak device memory, MiB",
}
"""Each is the name of a figure, and what the tables call it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A workload and its goals."""

    name: str
    what: str
    model: str = "smollm2"
    device: str = "cpu"
    dtype: str = "float32"
    batch: int = 1
    prompt_tokens: int = 64
    new_tokens: int = 32
    cache: str = "dynamic"
    arms: tuple[str, ...] = ("summary", "full")
    """Beside plain and its control, which are in every case that takes times."""
    rounds: int = ENOUGH_PAIRS
    threads: int | None = None
    measures: tuple[str, ...] = ("call", "step")
    """What is held against the goals."""
    goals: Mapping[str, float] = field(default_factory=dict)
    """By arm: the upper end of the interval may be that much."""
    like_control: bool = False
    """The goal is that the arm cannot be told from the control; `goals` names the arms."""
    changed: str = ""
    """What is not as the case has it: its goals were set for another workload."""
    memory: bool = False
    """Only memory is measured: one call of each arm."""


def _gpu(name: str, what: str, **changes: Any) -> Case:
    workload = {"prompt_tokens": 512, "new_tokens": 128, **changes}
    return Case(name, what, model="random:llama-8b-shape", device="cuda", dtype="bfloat16", **workload)


_SMALL_COST: Final = {"summary": 1.01, "full": 1.02}

_OF_PROMPT: Final = ("summary", "prompt-summary", "full", "prompt-full")

CASES: Final[dict[str, Case]] = {
    case.name: case
    for case in (
        _gpu("8b-p512", "8B shape, batch 1, prompt of 512", goals=_SMALL_COST),
        _gpu("8b-p8k", "8B shape, batch 1, prompt of 8192", prompt_tokens=8192, goals=_SMALL_COST),
        _gpu("8b-b32", "8B shape, batch 32, prompt of 512", batch=32, goals=_SMALL_COST),
        _gpu(
            "8b-first-token",
            "8B shape, time to first token, prompt of 2048",
            prompt_tokens=2048,
            new_tokens=1,
            rounds=60,
            measures=("call", "first"),
            goals={"summary": 1.01, "full": 1.01},
        ),
        _gpu(
            "8b-answer5",
            "8B shape, an answer of 5 tokens",
            prompt_tokens=64,
            new_tokens=5,
            rounds=60,
            measures=("added_ms",),
            goals={"summary": 1.0, "full": 2.0},
        ),
        _gpu(
            "8b-off",
            "8B shape, span not recorded",
            new_tokens=32,
            arms=("off",),
            goals={"off": 1.0},
            like_control=True,
        ),
        _gpu("8b-armed", "8B shape, prompt of 512, a policy armed that never acts", arms=("summary", "armed")),
        _gpu(
            "8b-naive",
            "8B shape, prompt of 512, beside output_hidden_states and output_attentions",
            new_tokens=17,
            arms=("summary", "full", "naive"),
        ),
        _gpu(
            "8b-memory",
            "8B shape, peak device memory over 2048 new tokens",
            new_tokens=2048,
            rounds=1,
            measures=("added_mib",),
            goals={"summary": 16.0, "full": 16.0},
            memory=True,
        ),
        _gpu(
            "8b-prompt-2k",
            "8B shape, prompt analysis, time to first token, prompt of 2048",
            prompt_tokens=2048,
            new_tokens=1,
            arms=_OF_PROMPT,
            measures=("call", "first"),
        ),
        _gpu(
            "8b-prompt-8k",
            "8B shape, prompt analysis, time to first token, prompt of 8192",
            prompt_tokens=8192,
            new_tokens=1,
            arms=_OF_PROMPT,
            measures=("call", "first"),
        ),
        _gpu(
            "8b-prompt-memory",
            "8B shape, prompt analysis, peak device memory, prompt of 8192",
            prompt_tokens=8192,
            new_tokens=2,
            rounds=1,
            arms=_OF_PROMPT,
            measures=("added_mib",),
            goals={"prompt-summary": 64.0, "prompt-full": 64.0},
            memory=True,
        ),
        _gpu("8b-p2k", "8B shape, batch 1, prompt of 2048 (for the plot)", prompt_tokens=2048, new_tokens=33),
        _gpu("8b-b8", "8B shape, batch 8, prompt of 512 (for the plot)", batch=8, new_tokens=33),
        Case(
            "cpu-smollm2",
            "SmolLM2-135M, real weights, 2 CPU cores",
            new_tokens=128,
            threads=2,
            goals={"summary": 1.02, "full": 1.03},
        ),
        Case(
            "cpu-off",
            "SmolLM2-135M, 2 CPU cores, span not recorded",
            threads=2,
            arms=("off",),
            goals={"off": 1.0},
            like_control=True,
        ),
        Case(
            "tiny",
            "a toy on the CPU, to try the benchmark itself",
            model="random:tiny-shape",
            prompt_tokens=32,
            new_tokens=17,
            arms=("summary", "full", "naive"),
        ),
    )
}
