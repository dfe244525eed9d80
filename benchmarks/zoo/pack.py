"""Make what is committed of what was collected: fewer layer columns at every step, rounded numbers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .container import Arrays, meta, read, rounded, window_count, windows, write
from .shard import GROUPS
from .store import SUFFIX, _by_step, _spans

EVERY_STEP: Final = 30
"""Healthy runs of a model that keep every step of their layers."""
BITS: Final = 7
"""Bits behind the point that a number keeps: it is off by 0.4 % at most."""
_EXACT: Final = ("window/log2_norm", "window/log2_gain", "window/attention_entropy_change", "sample/", "run/")
"""Numbers that are differences, or few, keep what they have."""
_LAYERED: Final = ("healthy", "fault")
"""Groups whose layers are kept."""


def packed(arrays: Arrays, *, every_step: int = EVERY_STEP, bits: int = BITS, without: Sequence[str] = ()) -> Arrays:
    """Return the arrays that are committed.

    Args:
        arrays: of a collection.
        every_step: healthy runs that keep every step of their layers.
        bits: that a number keeps behind the point of its mantissa.
        without: columns that are left out.
    """
    found = {name: values for name, values in arrays.items() if not _named(name, without)}
    found |= _fewer_steps(found, every_step)
    found = {name: values if name.startswith(_EXACT) else rounded(values, bits) for name, values in found.items()}
    about = {**meta(arrays), "packed": {"every_step": every_step, "bits": bits, "without": list(without)}}
    return {**found, "meta": np.array(json.dumps(about))}


def _named(name: str, columns: Sequence[str]) -> bool:
    return any(part in columns for part in name.split("/"))


def _fewer_steps(arrays: Arrays, every_step: int) -> Arrays:
    """Return `run/layered` and the arrays of layers, where fewer runs keep every step or any layers."""
    before, steps = arrays["run/layered"], arrays["run/steps"].astype(int)
    group = np.array([GROUPS[number] for number in arrays["run/group"]])
    after = np.where(np.isin(group, _LAYERED), np.minimum(before, 1), 0).astype(np.int8)
    whole = np.flatnonzero((before == 2) & (group == "healthy"))
    places = np.linspace(0, len(whole) - 1, min(every_step, len(whole))).round().astype(int)
    after[whole[places]] = 2
    found: Arrays = {"run/layered": after}
    spans = _spans(np.where(before == 2, steps, 0))
    counts = [window_count(int(count)) for count in steps]
    window_spans = _spans(np.where(before == 1, counts, 0))
    for name in [name for name in arrays if name.startswith("layers/")]:
        parts = [arrays[name][:, spans[number]] for number in np.flatnonzero(after == 2)]
        found[name] = _joined(parts, arrays[name])
    derived = {number: _by_step(arrays, spans[number]) for number in np.flatnonzero((after == 1) & (before == 2))}
    for name in [name for name in arrays if name.startswith("window/")]:
        _, signal, statistic = name.split("/")
        place = ("median", "max", "argmax").index(statistic)
        parts = []
        for number in np.flatnonzero(after == 1).tolist():
            if number not in derived:
                parts.append(arrays[name][:, window_spans[number]])
            elif signal in derived[number]:
                parts.append(windows(derived[number][signal])[place].T.astype(arrays[name].dtype))
            else:
                empty = np.nan if arrays[name].dtype.kind == "f" else 255
                parts.append(np.full((len(arrays[name]), counts[number]), empty, arrays[name].dtype))
        found[name] = _joined(parts, arrays[name])
    return found


def _joined(parts: list[NDArray[Any]], like: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(parts, 1).astype(like.dtype) if parts else np.empty((len(like), 0), like.dtype)


def pack_folder(source: Path, target: Path, names: Sequence[str], **options: Any) -> None:
    """Pack models of a folder into another one and say how large each is."""
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in names:
        files = write(target / f"{name}{SUFFIX}", packed(read(source / f"{name}{SUFFIX}"), **options), preset=9)
        size = sum(each.stat().st_size for each in files)
        total += size
        print(f"{name}: {size / 2**20:.2f} MiB", flush=True)
    print(f"together {total / 2**20:.2f} MiB in {target}")
