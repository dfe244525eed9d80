"""Learned baselines as files: one for each model, which all processes of a machine add to.

A process adds what it has learned since it last did, under a lock: it reads the file, merges and puts a new file in the
old one's place. So a process that is killed loses what it has not added yet, and nothing else; no file is ever half
written, and nothing is counted twice.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from .._internal.file_io import NoJsonError, OddFileError, parsed_json, read_regular, written
from .._internal.file_lock import locked
from .._internal.npz import from_npz, to_npz
from .._internal.values import fits_int64
from ..config import data_folder
from .learned import MOST_LAYERS, LearnedBaseline, key_of
from .profile import Identity, ProfileError
from .profiled_signals import LAYER_SIGNALS, STEP_SIGNALS
from .run_numbers import MOST_NUMBERS, NUMBER, RULE_VERSION, NumberSample
from .sketches import BINS, Sketches
from .windowed import VIEWS, TableRows

FORMAT: Final = "corevital-learned-baseline"
VERSION: Final = 1
SUFFIX: Final = ".baseline"
LARGEST: Final = 64 << 20
"""Bytes above which a file is not read."""
WAIT_SECONDS: Final = 2.0
"""How long the lock is waited for."""

_LOCK: Final = ".lock"
_ABOUT: Final = "about"
_COUNTS: Final = ("runs", "tokens", "flagged")
_RESET: Final = "remove it with `corevital baseline reset`"


def baselines_folder() -> Path:
    """Return where learned baselines are."""
    return Path(data_folder(), "baselines")


def file_of(identity: Identity) -> Path:
    """Return the file of a model's baseline."""
    return baselines_folder() / f"{key_of(identity)}{SUFFIX}"


def files() -> list[Path]:
    """Return the files that there are, by name; none where the folder cannot be read."""
    try:
        return sorted(path for path in baselines_folder().iterdir() if path.suffix == SUFFIX)
    except OSError:
        return []


def to_bytes(baseline: LearnedBaseline) -> bytes:
    """Return a baseline as the bytes of a file."""
    about = {
        "format": FORMAT,
        "version": VERSION,
        "model": baseline.identity.model_dump(mode="json"),
        "frozen": baseline.frozen,
        "signals": _signals(),
        "rule": RULE_VERSION,
        **{name: getattr(baseline, name) for name in _COUNTS},
    }
    sketches, entries = baseline.sketches, baseline.numbers.entries
    return to_npz(
        {
            _ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8),
            "centre": sketches.centre,
            "unit": sketches.unit,
            "counts": sketches.counts[:, :BINS],
            "lowest": sketches.lowest,
            "highest": sketches.highest,
            **{f"number_{name}": entries[name] for name in NUMBER.names or ()},
        }
    )


def read_baseline(path: str | os.PathLike[str]) -> LearnedBaseline:
    """Read a learned baseline.

    Raises:
        FileNotFoundError: if there is no such file.
        ProfileError: if it cannot be read, or is not what this version reads; names the file.
    """
    file = Path(path)
    try:
        data = read_regular(file, LARGEST)
    except FileNotFoundError:
        raise
    except OddFileError as error:
        raise ProfileError(f"baseline {file}: {error.strerror}, so it is no baseline") from None
    except OSError as error:
        raise ProfileError(f"baseline {file}: cannot be read: {error.strerror}") from None
    try:
        return _of_bytes(data)
    except ValueError as error:
        raise ProfileError(f"baseline {file}: {error}") from None


def update(file: Path, change: Callable[[LearnedBaseline | None], LearnedBaseline | None]) -> LearnedBaseline | None:
    """Put in a file's place what a change makes of it, while nobody else does; return what it has now.

    Args:
        file: of a baseline, whether it is there or not.
        change: gets what the file has, None where there is none; returns what it shall have, None to leave it.

    Raises:
        ProfileError: if the file that is there cannot be read: it is left as it is.
        OSError: if nothing can be written, or somebody else has the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_name(_LOCK), WAIT_SECONDS):
        try:
            before = read_baseline(file)
        except FileNotFoundError:
            before = None
        after = change(before)
        if after is None:
            return before
        with written(file) as opened:
            opened.write(to_bytes(after))
        return after


def remove(file: Path) -> None:
    """Remove a baseline's file, while nobody adds to it.

    Raises:
        OSError: if it is not there, or cannot be removed.
    """
    with locked(file.with_name(_LOCK), WAIT_SECONDS):
        file.unlink()


def _signals() -> list[list[str]]:
    return [list(VIEWS), list(LAYER_SIGNALS), list(STEP_SIGNALS)]


def _of_bytes(data: bytes) -> LearnedBaseline:
    """Return the baseline that a file's bytes are.

    Raises:
        ValueError: if they are none, or not what this version reads; the message goes on after the file's name.
    """
    arrays = from_npz(data)
    about = _about(arrays)
    version = about.get("version")
    if version != VERSION or about.get("signals") != _signals():
        raise ValueError(f"is of another version of CoreVital (format {version!r}); {_RESET}")
    try:
        identity = Identity.model_validate(about.get("model"))
    except ValidationError as error:
        raise ValueError(f"its model is not told: {error.errors()[0]['msg']}; {_RESET}") from None
    layers = identity.layer_count or 0
    if not 0 <= layers <= MOST_LAYERS:
        raise ValueError(f"its model has {layers} layers; {MOST_LAYERS} are the most")
    counts = {name: about.get(name) for name in _COUNTS}
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0 or not fits_int64(value):
            raise ValueError(f"{name} is no count; {_RESET}")
    return LearnedBaseline(
        identity,
        _sketches(arrays, TableRows(layers).count),
        # Numbers by another rule cannot be compared with those of runs to come; what is usual stays.
        numbers=_numbers(arrays) if about.get("rule", 1) == RULE_VERSION else NumberSample.of(),
        frozen=about.get("frozen") is True,
        **counts,  # type: ignore[arg-type]
    )


def _about(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    text = arrays.get(_ABOUT)
    try:
        about = None if text is None or text.dtype != np.uint8 else parsed_json(text.tobytes())
    except NoJsonError as error:
        raise ValueError(f"what it says of itself is {error}; {_RESET}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"is no learned baseline; {_RESET}")
    return about


def _sketches(arrays: dict[str, NDArray[Any]], rows: int) -> Sketches:
    found = Sketches.empty(rows)
    for name in ("centre", "unit", "lowest", "highest"):
        setattr(found, name, _array(arrays, name, (rows,), np.float32))
    found.counts[:, :BINS] = _array(arrays, "counts", (rows, BINS), np.uint32)
    used = found.total > 0
    whole = np.isfinite([found.centre, found.unit, found.lowest, found.highest]).all(0)
    if (used & ~(whole & (found.unit > 0) & (found.lowest <= found.highest))).any():
        raise ValueError(f"a sketch in it has counts and no place; {_RESET}")
    return found


def _numbers(arrays: dict[str, NDArray[Any]]) -> NumberSample:
    keys = arrays.get("number_key")
    count = len(keys) if keys is not None and keys.ndim == 1 else 0
    if count > MOST_NUMBERS:
        raise ValueError(f"it has {count} numbers of runs; {MOST_NUMBERS} are the most")
    entries = np.zeros(count, NUMBER)
    for name in NUMBER.names or ():
        entries[name] = _array(arrays, f"number_{name}", (count,), NUMBER[name])
    if not np.isfinite(entries["value"]).all():
        raise ValueError(f"a number of a run is not finite; {_RESET}")
    return NumberSample(entries).merged(NumberSample.of())


def _array(arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    values = arrays.get(name)
    if values is None or values.shape != shape or values.dtype != dtype:
        raise ValueError(f"its array {name} is not there, or of another shape or kind; {_RESET}")
    return values
