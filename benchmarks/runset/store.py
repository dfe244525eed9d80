"""The committed run set: packed from shards, read back as samples.

    python benchmarks/runset/store.py SHARDS      # shards of collect.py -> runs.npz.xz

Needs NumPy only. `runs.npz.xz` holds every run end to end: token ids, the numbers of each step, how it was decoded;
`prompts.json` the prompts; `labels.json` what `label.py` found.
Numbers are kept in half precision, rounded to 6 bits behind the point, as the bytes of each column in two planes, which
compress better apart.
"""

import hashlib
import io
import json
import lzma
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path[:0] = [folder for folder in (str(HERE.parent),) if folder not in sys.path]

from zoo.container import rounded  # noqa: E402

BITS = 6
"""Bits behind the point that a number keeps when it is packed: it is off by 0.8 % at most."""
RUNS, LABELS, PROMPTS = "runs.npz.xz", "labels.json", "prompts.json"

Half = Literal["fit", "report"]


def half_of(prompt: dict[str, Any]) -> Half:
    """Return the half of a prompt: all prompts of a group have the same."""
    return "fit" if hashlib.sha256(prompt["group"].encode()).digest()[0] % 2 else "report"


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of a run beside its numbers."""

    loop: bool
    """Whether its text ends in a loop, by `labels.py`."""
    onset: int | None
    """Index of the token at which the loop's second copy begins."""
    correct: bool | None
    """Whether a question was answered rightly; None for other prompts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run.

    Attributes:
        number: its index in the set.
        prompt: id, class, task, group, and messages or text.
        plan: how it was decoded, with the seed of its batch.
        tokens: int32 [T], the end token included.
        columns: signal -> float32 [T].
        input_tokens: length of the prompt.
        stopped: whether the model ended it by itself.
        label: see there; None where the set has not been labelled.
    """

    number: int
    prompt: dict[str, Any]
    plan: dict[str, Any]
    tokens: NDArray[np.int32]
    input_tokens: int
    stopped: bool
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    label: Label | None = None

    @property
    def half(self) -> Half:
        """Return its half: thresholds are chosen on one and figures reported on the other, split by prompt group."""
        return half_of(self.prompt)

    @property
    def degenerate(self) -> bool:
        """Whether it was cut off in a loop that nobody had asked for."""
        return self.label is not None and self.label.loop and not self.stopped and self.prompt["class"] != "repeat"

    @property
    def refrain_cut_off(self) -> bool:
        """Whether it was cut off in a repetition that had been asked for."""
        return self.label is not None and self.label.loop and not self.stopped and self.prompt["class"] == "repeat"


@cache
def prompts() -> dict[int, dict[str, Any]]:
    """Return the prompts by id."""
    return {prompt["id"]: prompt for prompt in json.loads((HERE / PROMPTS).read_text(encoding="utf-8"))}


def load() -> list[Sample]:
    """Return the samples, with labels where they exist."""
    arrays, labels = unpack_file(HERE / RUNS), _labels()
    plans, samples = json.loads(str(arrays.pop("plans"))), []
    offsets, tokens = arrays.pop("offsets"), arrays.pop("tokens").astype(np.int32)
    by_run = {key: arrays.pop(key).tolist() for key in ("prompt", "plan", "input_tokens", "stopped")}
    for number, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        samples.append(
            Sample(
                number=number,
                prompt=prompts()[by_run["prompt"][number]],
                plan=plans[by_run["plan"][number]],
                tokens=tokens[begin:end],
                input_tokens=by_run["input_tokens"][number],
                stopped=by_run["stopped"][number],
                columns={key: column[begin:end].astype(np.float32) for key, column in arrays.items()},
                label=labels[number] if labels else None,
            )
        )
    return samples


def _labels() -> list[Label] | None:
    path = HERE / LABELS
    return [Label(*row) for row in json.loads(path.read_text(encoding="utf-8"))["runs"]] if path.exists() else None


def merge(shards: Iterable[Path]) -> dict[str, NDArray[Any]]:
    """Return the arrays of shards as one, with the index of its plan for every run."""
    parts: dict[str, list[NDArray[Any]]] = {}
    plans: list[dict[str, Any]] = []
    last = 0
    for shard in shards:
        with np.load(shard, allow_pickle=False) as arrays:
            meta = json.loads(str(arrays["meta"]))
            if meta["prompts_sha256"] != hashlib.sha256((HERE / PROMPTS).read_bytes()).hexdigest():
                raise SystemExit(f"{shard}: was made from other prompts than {PROMPTS} holds")
            for name in arrays.files:
                if name not in ("meta", "offsets"):
                    parts.setdefault(name, []).append(arrays[name])
            parts.setdefault("offsets", []).append(arrays["offsets"][1:] + last)
            parts.setdefault("plan", []).append(np.full(len(arrays["prompt"]), len(plans), np.int32))
            last += int(arrays["offsets"][-1])
        plan = meta.pop("plan")
        plans.append({"name": plan.pop("name"), **plan, **meta})
    merged = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    merged["offsets"] = np.concatenate(([0], merged["offsets"]))
    return {**merged, "plans": np.array(json.dumps(plans))}


def pack_file(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays, whole or not at all."""
    planes: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.dtype.kind in "fiu" and array.dtype.itemsize > 1:
            flat = np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.dtype.itemsize).T
            planes[f"{name}|{array.dtype.str}|{','.join(map(str, array.shape))}"] = np.ascontiguousarray(flat)
        else:
            planes[name] = array
    buffer = io.BytesIO()
    np.savez(buffer, **planes)  # type: ignore[arg-type]
    aside = path.with_suffix(".part")
    aside.write_bytes(lzma.compress(buffer.getvalue(), preset=9))
    aside.replace(path)


def unpack_file(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a packed file."""
    arrays: dict[str, NDArray[Any]] = {}
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False) as planes:
        for key in planes.files:
            name, *form = key.split("|")
            array = planes[key]
            if form:
                dtype, shape = form
                array = np.ascontiguousarray(array.T).reshape(-1).view(dtype)
                array = array.reshape([int(size) for size in shape.split(",")])
            arrays[name] = array
    return arrays


def main() -> None:
    """Pack a folder of shards."""
    arrays = merge(sorted(Path(sys.argv[1]).glob("runs-*.npz")))
    pack_file(HERE / RUNS, {name: rounded(values, BITS) for name, values in arrays.items()})
    print(RUNS, (HERE / RUNS).stat().st_size, "bytes,", len(load()), "runs")


if __name__ == "__main__":
    main()
