"""Named arrays as the bytes of a compressed NumPy `.npz`, and back.

Written with a fixed date, so that equal arrays give equal bytes, and read with `allow_pickle=False`.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_LEVEL: Final = 1
_SAMPLE: Final = 16 * 1024
_SAMPLES: Final = 4

ENTRY_BYTES: Final = 320
"""At most what an array takes beside its values: its header, and twice its name and framing."""


def to_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of a compressed `.npz`.

    Raises:
        ValueError: if one of them holds Python objects.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, values in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def estimated_bytes(values: NDArray[Any]) -> int:
    """Return about how many bytes an array takes in an `.npz`, by how samples of its values compress."""
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if raw.size <= _SAMPLES * _SAMPLE:
        return ENTRY_BYTES + len(zlib.compress(raw.tobytes(), _LEVEL))
    starts = np.linspace(0, raw.size - _SAMPLE, _SAMPLES).astype(int)
    sample = np.concatenate([raw[start : start + _SAMPLE] for start in starts.tolist()])
    return ENTRY_BYTES + raw.size * len(zlib.compress(sample.tobytes(), _LEVEL)) // sample.size


def entry_bytes(data: bytes) -> dict[str, int]:
    """Return at most how many bytes each of the arrays takes that `to_npz` wrote."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename.removesuffix(".npy"): ENTRY_BYTES + info.compress_size for info in archive.infolist()}


def from_npz(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays that `to_npz` wrote.

    Raises:
        ValueError: if the bytes are no `.npz`, or one that holds Python objects.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"not an .npz archive of plain arrays ({error})") from None
