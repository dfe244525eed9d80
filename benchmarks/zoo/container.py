"""The file that holds the runs of one model: arrays, as the bytes of each in planes, compressed.

Every run has a number of its place; what belongs to its steps lies end to end:

| array | shape | what it is |
|---|---|---|
| `meta` | | JSON: the model, its training, the names that are numbers below, the columns |
| `run/NAME` | [runs] | what is known of each run; -1 or NaN: does not concern it |
| `tokens`, `step/NAME` | [tokens] | token ids and numbers of each step, `run/steps` of each run |
| `layers/NAME` | [layers, tokens of the runs of `run/layered` 2] | numbers of each step and layer |
| `window/NAME/median`, `/max`, `/argmax` | [layers, windows of the runs of `run/layered` 1] | of windows of 8 steps |
| `nonfinite` | [n, 5] | run, step, layer, NaN values, infinite values |
| `logits` | [n, 5] | run, step, NaN, +Inf and -Inf logits |
| `previous` | [middle layers, heads, tokens of the tasks' runs] | attention to the previous token |
| `spectrum` | [layers, the tasks' runs] nat | Renyi-2 entropy of the projected states |
| `sample/NAME` | [samples] | sampled answers: `run`, `steps`, `surprisal`, `right`, `answer` |
| `made/kind`, `/steps`, `/tokens` | | structured documents as they are, cut off, in the model's tokens |
| `sample/tokens` | [their tokens] | end to end |
"""

import io
import json
import lzma
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

WINDOW: Final = 8
"""Steps of a window."""
_FILTERS: Final = {"id": lzma.FILTER_LZMA2, "lc": 0, "lp": 0, "pb": 0}
"""Planes of rounded numbers are noise but for their own frequencies: what stands before a byte says nothing of it."""
PART: Final = 15 * 2**20
"""Bytes of the largest file; what is larger comes in parts."""


def windows(steps: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Return median, maximum and its place in windows of 8 steps that follow each other, from the second step on.

    The first step's query is the prompt's last token; the steps after the last whole window are left out. The places
    and the number of the windows are those of the package's own profiles.

    Args:
        steps: [T, L]; what is not finite counts nothing, a window of nothing else is NaN, its place 255.

    Returns:
        median and maximum [W, L], and the step of the maximum within its window.
    """
    count = max(0, len(steps) - 1) // WINDOW
    parts = steps[1 : 1 + count * WINDOW].astype(np.float32).reshape(count, WINDOW, steps.shape[1])
    known = np.isfinite(parts)
    some = known.any(1)
    filled = np.where(known, parts, -np.inf)
    place = np.where(some, filled.argmax(1), 255).astype(np.uint8)
    largest = np.where(some, filled.max(1), np.nan).astype(np.float32)
    if known.all():
        ordered = np.sort(parts, axis=1)
        median = (ordered[:, WINDOW // 2 - 1] + ordered[:, WINDOW // 2]) / 2
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a window in which nothing is known
            median = np.nanmedian(np.where(known, parts, np.nan), axis=1)
    return median.astype(np.float32), largest, place


def window_count(steps: int) -> int:
    """Return the number of windows of a run of so many steps."""
    return max(0, steps - 1) // WINDOW


def rounded(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return floats with so many bits behind the point of their mantissa, in their own type."""
    if values.dtype.kind != "f":
        return values
    mantissa, whole = {2: (10, np.uint16), 4: (23, np.uint32)}[values.dtype.itemsize]
    drop = max(0, mantissa - bits)
    if not drop:
        return values
    pattern = values.view(whole)
    up = (pattern + whole(1 << (drop - 1))) & whole(~((1 << drop) - 1) & (2 ** (8 * values.dtype.itemsize) - 1))
    return np.where(np.isfinite(values), up, pattern).astype(whole).view(values.dtype)


def write(path: Path, arrays: Mapping[str, NDArray[Any]], *, preset: int = 6, part: int = PART) -> list[Path]:
    """Write arrays whole or not at all; return the files: one, or parts `PATH.0`, `PATH.1` of what is too large."""
    buffer = io.BytesIO()
    np.savez(buffer, **_planes(arrays))  # type: ignore[arg-type]
    data = lzma.compress(buffer.getvalue(), filters=[{**_FILTERS, "preset": preset}])
    for old in files(path):
        old.unlink()
    names = [path] if len(data) <= part else [Path(f"{path}.{i}") for i in range(-(-len(data) // part))]
    for number, name in enumerate(names):
        aside = Path(f"{name}.part")
        aside.write_bytes(data[number * part : (number + 1) * part])
        aside.replace(name)
    return names


def files(path: Path) -> list[Path]:
    """Return the files that hold an array file: itself, or its parts in their order."""
    if path.exists():
        return [path]
    parts = [each for each in path.parent.glob(path.name + ".*") if each.suffix[1:].isdigit()]
    return sorted(parts, key=lambda each: int(each.suffix[1:]))


def read(path: Path) -> Arrays:
    """Return the arrays of a file or of its parts.

    Raises:
        FileNotFoundError: if there is none.
    """
    parts = files(path)
    if not parts:
        raise FileNotFoundError(f"{path}: there is neither this file nor a part of it")
    data = lzma.decompress(b"".join(each.read_bytes() for each in parts))
    arrays: Arrays = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as planes:
        for key in planes.files:
            name, *form = key.split("|")
            array = planes[key]
            if form:
                array = np.ascontiguousarray(array.T).reshape(-1).view(form[0])
                array = array.reshape([int(size) for size in form[1].split(",")])
            arrays[name] = array
    return arrays


def _planes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the bytes of each array of numbers in planes, which compress better apart."""
    planes: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.dtype.kind in "fiu" and array.dtype.itemsize > 1 and array.size:
            flat = np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.dtype.itemsize).T
            planes[f"{name}|{array.dtype.str}|{','.join(map(str, array.shape))}"] = np.ascontiguousarray(flat)
        else:
            planes[name] = array
    return planes


def meta(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return what a file says of itself."""
    return dict(json.loads(str(arrays["meta"])))


def end_to_end(parts: Sequence[NDArray[Any]], dtype: Any, shape: tuple[int, ...] = ()) -> NDArray[Any]:
    """Return arrays joined along the first axis; of none an empty one of this shape of an entry."""
    return np.concatenate(parts).astype(dtype) if parts else np.empty((0, *shape), dtype)
