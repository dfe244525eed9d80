"""Named arrays as the bytes of a compressed NumPy `.npz`, and back.

Written with a fixed date, so that equal arrays give equal bytes, and read with `allow_pickle=False`.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def to_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of a compressed `.npz`.

    Raises:
        ValueError: if one of them holds Python objects.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


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
