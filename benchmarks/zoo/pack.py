"""Make what is committed of what was collected: fewer layer columns at every step, rounded numbers."""

import json
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .container import Arrays, meta, read, rounded, window_count, windows, write
from .rows import is_repetitive
from .shard import GROUPS
from .store import SUFFIX, TEXTS, _by_step, _spans, read_texts

MOST: Final = {"baseline": 250, "held_out": 300, "loop": 60}
"""Side or group -> most runs of a model that are kept."""
EVERY_STEP: Final = 30
"""Healthy runs of a model that keep every step of their layers."""
BITS: Final = 5
"""Bits behind the point that a number keeps: it is off by 1.6 % at most."""
_FINER: Final = ("step/entropy", "step/surprisal", "step/margin", "step/top1_prob", "previous")
"""What risk is made of keeps one bit more."""
_EXACT: Final = ("sample/", "run/", "spectrum")
_GRAINS: Final = {"log2_norm": 2**-6, "log2_gain": 2**-7, "attention_entropy_change": 2**-9}
"""Numbers that are differences are rounded to multiples of these: of a norm 0.6 %, of its gain 0.3 %, of an entropy
0.001."""
_LAYERED: Final = ("healthy", "fault")
"""Groups whose layers are kept."""


def packed(
    arrays: Arrays,
    *,
    every_step: int = EVERY_STEP,
    bits: int = BITS,
    without: Sequence[str] = (),
    most: Mapping[str, int] = MOST,
) -> Arrays:
    """Return the arrays that are committed.

    Args:
        arrays: of a collection.
        every_step: healthy runs that keep every step of their layers.
        bits: that a number keeps behind the point of its mantissa.
        without: columns that are left out.
        most: side of the healthy runs, or group -> how many are kept, spread over all there are.
    """
    found = {name: values for name, values in arrays.items() if not _named(name, without)}
    found = selected(found, _kept(found, most))
    found |= _fewer_steps(found, every_step)
    found = {name: _rounded(name, values, bits) for name, values in found.items()}
    about = {**meta(arrays), "packed": {"every_step": every_step, "bits": bits, "without": list(without)}}
    return {**found, "meta": np.array(json.dumps(about))}


def _rounded(name: str, values: NDArray[Any], bits: int) -> NDArray[Any]:
    if name.startswith(_EXACT) or values.dtype.kind != "f":
        return values
    grain = next((grain for column, grain in _GRAINS.items() if column in name.split("/")), None)
    if grain is None:
        return rounded(values, bits + (name in _FINER))
    return (np.round(values.astype(np.float32) / grain) * grain).astype(values.dtype)


def repetitive(arrays: Arrays, texts: Mapping[int, str]) -> Arrays:
    """Return `run/repetitive`: whether a reader could call the text's end a loop, whatever its label."""
    found = [is_repetitive(texts[number]) for number in arrays["run/number"].tolist()]
    return {"run/repetitive": np.array(found, np.int8)}


def _kept(arrays: Arrays, most: Mapping[str, int]) -> NDArray[np.bool_]:
    """Return which runs are kept."""
    words = meta(arrays)["names"]
    keep = np.ones(len(arrays["run/group"]), bool)
    for name, count in most.items():
        field = "side" if name in words["side"] else "group"
        here = np.flatnonzero(arrays[f"run/{field}"] == words[field].index(name))
        if len(here) > count:
            keep[here] = False
            keep[here[np.linspace(0, len(here) - 1, count).round().astype(int)]] = True
    return keep


def selected(arrays: Arrays, keep: NDArray[np.bool_]) -> Arrays:
    """Return the arrays of some of the runs."""
    if keep.all():
        return arrays
    steps, layered = arrays["run/steps"].astype(int), arrays["run/layered"]
    counts = np.array([window_count(int(count)) for count in steps])
    by_step, by_layer = np.repeat(keep, steps), np.repeat(keep, np.where(layered == 2, steps, 0))
    by_window = np.repeat(keep, np.where(layered == 1, counts, 0))
    tasks = arrays["run/group"] == GROUPS.index("task")
    if not keep[tasks].all():
        raise ValueError("answers belong together with their samples: they are kept, all of them")
    place = np.cumsum(keep) - 1
    found: Arrays = {}
    for name, values in arrays.items():
        match name.split("/")[0]:
            case "run":
                found[name] = values[keep]
            case "tokens" | "step":
                found[name] = values[by_step]
            case "layers":
                found[name] = values[:, by_layer]
            case "window":
                found[name] = values[:, by_window]
            case "nonfinite" | "logits":
                mine = values[keep[values[:, 0]]]
                found[name] = np.concatenate([place[mine[:, :1]], mine[:, 1:]], 1).astype(values.dtype)
            case "sample" if name == "sample/run":
                found[name] = place[values].astype(values.dtype)
            case _:
                found[name] = values
    return found


def sizes(arrays: Arrays) -> dict[str, int]:
    """Return the compressed bytes of each array by its name's first two parts, the largest first."""
    found: dict[str, int] = {}
    for name, values in arrays.items():
        key = "/".join(name.split("/")[:2])
        planes = (
            np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.dtype.itemsize).T if values.size else values
        )
        found[key] = found.get(key, 0) + len(lzma.compress(np.ascontiguousarray(planes).tobytes()))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


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
        collected = read(source / f"{name}{SUFFIX}")
        collected |= repetitive(collected, read_texts(source / f"{name}{TEXTS}"))
        arrays = packed(collected, **options)
        files = write(target / f"{name}{SUFFIX}", arrays, preset=9)
        size = sum(each.stat().st_size for each in files)
        total += size
        parts = ", ".join(f"{key} {count // 1024}" for key, count in list(sizes(arrays).items())[:12])
        print(f"{name}: {size / 2**20:.2f} MiB; KiB: {parts}", flush=True)
    print(f"together {total / 2**20:.2f} MiB in {target}")
