"""The file of one model's answers: arrays, as `zoo/container.py` keeps them.

| array | shape | what it is |
|---|---|---|
| `meta` | | JSON: the model, how it ran, the names that are numbers below |
| `run/NAME` | [answers] | `task`, `form`, `number`, `level`, `right`, `end`, `steps`, `line_steps` |
| `step/NAME` | [tokens] | numbers of each step, end to end, `run/steps` of each answer |
| `rauq` | [answers, 2] nat | of all tokens, of the first half |
| `score` | [answers] | risk score without a baseline |
| `sample/NAME` | [samples] | `run` (place of the greedy answer), `answer`, `right`, `surprisal`, `steps` |
| `ordinary/NAME` | [99] | percentiles 1 to 99 of a signal over the model's ordinary text |
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zoo.container import Arrays, end_to_end, read, rounded, write
from zoo.store import SUFFIX

from .collecting import COLUMNS, Answer

BITS: Final = 6
"""Bits behind the point that a number keeps: it is off by 0.8 % at most."""


def arrays_of(answers: Sequence[Answer], usual: Mapping[str, NDArray[np.float32]], about: Mapping[str, Any]) -> Arrays:
    """Return the arrays of a collection."""
    names = {
        "task": sorted({answer.asked.task for answer in answers}),
        "form": sorted({answer.asked.form for answer in answers}),
        "end": sorted({answer.end for answer in answers}),
    }
    samples = [(place, sample) for place, answer in enumerate(answers) for sample in answer.samples]
    run = {
        "task": np.array([names["task"].index(answer.asked.task) for answer in answers], np.int8),
        "form": np.array([names["form"].index(answer.asked.form) for answer in answers], np.int8),
        "end": np.array([names["end"].index(answer.end) for answer in answers], np.int8),
        "number": np.array([answer.asked.number for answer in answers], np.int32),
        "right": np.array([answer.right for answer in answers], np.int8),
        "level": np.array([answer.asked.level for answer in answers], np.int8),
        "steps": np.array([len(answer.columns["surprisal"]) for answer in answers], np.uint8),
        "line_steps": np.array([answer.line_steps for answer in answers], np.uint8),
    }
    arrays: Arrays = {"meta": np.array(json.dumps({**about, "names": names}))}
    arrays |= {f"run/{name}": values for name, values in run.items()}
    arrays |= {f"step/{name}": end_to_end([answer.columns[name] for answer in answers], np.float16) for name in COLUMNS}
    arrays["rauq"] = np.array([answer.rauq for answer in answers], np.float16).reshape(-1, 2)
    arrays["score"] = np.array([answer.score for answer in answers], np.float16)
    arrays |= {
        "sample/run": np.array([place for place, _ in samples], np.int32),
        "sample/answer": np.array([sample.answer for _, sample in samples], np.int8),
        "sample/right": np.array([sample.right for _, sample in samples], np.int8),
        "sample/surprisal": np.array([sample.surprisal for _, sample in samples], np.float16),
        "sample/steps": np.array([sample.steps for _, sample in samples], np.uint8),
    }
    return arrays | {f"ordinary/{name}": values.astype(np.float16) for name, values in usual.items()}


def pack(source: Path, target: Path, names: Sequence[str]) -> None:
    """Write what is committed, with rounded numbers, and say how large it is."""
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in names:
        arrays = {key: rounded(values, BITS) for key, values in read(source / f"{name}{SUFFIX}").items()}
        files = write(target / f"{name}{SUFFIX}", arrays, preset=9)
        size = sum(file.stat().st_size for file in files)
        total += size
        print(f"{name}: {size / 1024:.1f} KiB")
    print(f"together {total / 1024:.1f} KiB in {target}")
