"""Named arrays as the bytes of a compressed NumPy `.npz`, and back.

Written with a fixed date, so that equal arrays give equal bytes. What is read may come from anybody: members, names,
kinds, shapes and sizes are checked by the archive's directory and the arrays' headers, before anything is allocated for
the values, and no pickle is ever loaded.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_LEVEL: Final = 1
_SAMPLE: Final = 16 * 1024
_SAMPLES: Final = 4

ENTRY_BYTES: Final = 320
"""At most what an array takes beside its values: its header, and twice its name and framing."""

MOST_MEMBERS: Final = 1024
MOST_NAME: Final = 256
"""Characters of an array's name."""
MOST_DIMENSIONS: Final = 3
MOST_BYTES: Final = 512 * 1024**2
"""Of all arrays of an archive, decompressed."""
MOST_ARRAY_BYTES: Final = 128 * 1024**2

_SUFFIX: Final = ".npy"
_END: Final = struct.Struct("<4s4H2LH")  # the end of a zip's central directory, before its comment
_END_MARK: Final = b"PK\x05\x06"
_LOCAL: Final = struct.Struct("<4s5H3L2H")  # a member's own header, before its name
_LOCAL_MARK: Final = b"PK\x03\x04"
_ENTRY_SIZE: Final = 46  # least bytes of an entry of the directory
_MAGIC: Final = b"\x93NUMPY\x01\x00"  # version 1.0: headers of others may have gigabytes
_MOST_HEADER: Final = 1024
_ENCRYPTED: Final = 0x1 | 0x40
_KINDS: Final = "fiub"
_WIDEST: Final = 8  # bytes of a number
_OTHER_KINDS: Final = {
    "O": "Python objects, which are never read (allow_pickle=False)",
    "U": "texts",
    "S": "texts",
    "c": "complex",
    "M": "dates",
    "m": "spans of time",
    "V": "structures",
}
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError)
"""What zipfile raises for a member whose bytes are not what they should be."""


@dataclass(frozen=True, slots=True)
class Member:
    """An array of an archive, by its header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    entry: zipfile.ZipInfo
    start: int
    """Where its values begin in the decompressed member."""

    @property
    def bytes(self) -> int:
        """Return the bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An `.npz` from anywhere, its directory and headers checked, its arrays read one by one when they are asked for.

    Args:
        data: its bytes.

    Attributes:
        members: name -> an array that can be read.
        wrong: name -> why that array cannot be.

    Raises:
        ValueError: if the bytes are no such archive at all.
    """

    def __init__(self, data: bytes) -> None:
        directory = _checked_end(data)
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
            raise _no_archive(str(error)) from None
        entries = self._archive.infolist()
        _check_places(data, entries, directory)
        self.members: dict[str, Member] = {}
        self.wrong: dict[str, str] = {}
        for entry in entries:
            name = entry.filename.removesuffix(_SUFFIX)
            try:
                if name in self.members or name in self.wrong:
                    raise ValueError("the archive has two of that name")
                self.members[name] = self._member(entry)
            except ValueError as error:
                self.members.pop(name, None)
                self.wrong[name[:MOST_NAME]] = str(error)
        if sum(member.bytes for member in self.members.values()) > MOST_BYTES:
            raise _no_archive(f"its arrays have more than {MOST_BYTES} bytes")

    def read(self, name: str) -> NDArray[Any]:
        """Return an array in C order and the machine's own byte order.

        Raises:
            KeyError: if there is none of that name.
            ValueError: if its bytes are damaged.
        """
        member = self.members[name]
        try:
            with self._archive.open(member.entry) as file:
                file.read(member.start)
                packed = file.read(member.bytes)
                rest = file.read(1)  # also where nothing is left: the checksum is compared at the end
        except _DAMAGED:
            raise ValueError("its bytes are damaged") from None
        if len(packed) != member.bytes or rest:
            raise ValueError("it has another size than it declares")
        order = "F" if member.fortran_order else "C"
        kind = np.dtype(np.uint8) if member.dtype.kind == "b" else member.dtype
        values = np.frombuffer(packed, kind).reshape(member.shape, order=order)  # type: ignore[call-overload]
        if member.dtype.kind == "b":
            values = values != 0  # a byte may be more than 0 and 1
        return np.array(values, member.dtype.newbyteorder("="), order="C")  # a copy, which can be written to

    def _member(self, entry: zipfile.ZipInfo) -> Member:
        """Return an array by its header.

        Raises:
            ValueError: with what is wrong with it.
        """
        if len(entry.filename) > MOST_NAME + len(_SUFFIX):
            raise ValueError(f"its name has more than {MOST_NAME} characters")
        if not entry.filename.endswith(_SUFFIX):
            raise ValueError("it is no .npy")
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError("it is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is packed in another way than deflate")
        try:
            with self._archive.open(entry) as file:
                head = file.read(len(_MAGIC) + 2)
                length = int.from_bytes(head[len(_MAGIC) :], "little")
                if len(head) < len(_MAGIC) + 2 or not head.startswith(_MAGIC) or length > _MOST_HEADER:
                    raise ValueError("it is no .npy of version 1.0")
                header = head[len(_MAGIC) :] + file.read(length)
        except _DAMAGED:
            raise ValueError("its bytes are damaged") from None
        member = _of_header(header, entry)
        if member.start + member.bytes != entry.file_size:
            raise ValueError("its shape does not fit its size")
        return member


def _of_header(header: bytes, entry: zipfile.ZipInfo) -> Member:
    try:
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(header))
    except Exception:  # NumPy hands it to Python's parser, then to its tokenizer: both have errors of their own
        raise ValueError("its header cannot be read") from None
    if dtype.kind not in _KINDS or dtype.itemsize > _WIDEST or dtype.shape or dtype.names:
        raise ValueError(f"its values are {_kind(dtype)}")
    if not 1 <= len(shape) <= MOST_DIMENSIONS:
        raise ValueError(f"it has {len(shape)} dimensions")
    if any(isinstance(size, bool) or not 0 <= size < 2**31 for size in shape):
        raise ValueError("its shape is none")
    member = Member(dtype, shape, bool(fortran_order), entry, len(_MAGIC) + len(header))
    if member.bytes > MOST_ARRAY_BYTES:
        raise ValueError(f"it has more than {MOST_ARRAY_BYTES} bytes")
    return member


def _kind(dtype: np.dtype[Any]) -> str:
    """Return what values are that are no plain numbers."""
    return _OTHER_KINDS.get(dtype.kind, f"of a kind that is not read ({dtype.kind}{8 * dtype.itemsize})")


def _checked_end(data: bytes) -> int:
    """Return where the archive's directory begins; the archive must end with it, and it must be a small one.

    Raises:
        ValueError: if it is none.
    """
    at = data.rfind(_END_MARK, max(0, len(data) - _END.size - 0xFFFF))
    if at < 0 or at + _END.size > len(data):
        raise _no_archive("File is not a zip file")
    _, disk, first_disk, here, entries, size, start, comment = _END.unpack_from(data, at)
    if at + _END.size + comment != len(data):
        raise _no_archive("there is something behind its end")
    if disk or first_disk or here != entries or start + size != at:
        raise _no_archive("its directory is not where it says")
    if entries > MOST_MEMBERS or size > MOST_MEMBERS * 1024 or entries * _ENTRY_SIZE > size:
        raise _no_archive(f"it has more than {MOST_MEMBERS} members, or a directory of another size than it says")
    return int(start)


def _check_places(data: bytes, entries: list[zipfile.ZipInfo], directory: int) -> None:
    """Raise ValueError if members lie over each other, or are not where the directory says."""
    if len(entries) > MOST_MEMBERS:
        raise _no_archive(f"it has more than {MOST_MEMBERS} members")
    placed = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [*(entry.header_offset for entry in placed[1:]), directory]
    for entry, end in zip(placed, ends, strict=False):
        place = entry.header_offset
        if not 0 <= place <= end - _LOCAL.size:
            raise _no_archive("its members lie over each other")
        mark, *_, name, extra = _LOCAL.unpack_from(data, place)
        if mark != _LOCAL_MARK:
            raise _no_archive("a member is not where it says")
        if place + _LOCAL.size + name + extra + entry.compress_size > end:
            raise _no_archive("its members lie over each other")


def _no_archive(why: str) -> ValueError:
    return ValueError(f"not an .npz archive of plain arrays ({why})")


def to_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of a compressed `.npz`.

    Raises:
        ValueError: if one of them holds Python objects.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, values in arrays.items():
            entry = zipfile.ZipInfo(f"{name}{_SUFFIX}", _EPOCH)
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
        return {info.filename.removesuffix(_SUFFIX): ENTRY_BYTES + info.compress_size for info in archive.infolist()}


def from_npz(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays that `to_npz` wrote.

    Raises:
        ValueError: if the bytes are no `.npz`, or one of its arrays cannot be read or holds no plain numbers.
    """
    archive = Archive(data)
    for name, why in archive.wrong.items():
        raise _no_archive(f"{name}: {why}")
    return dict(_all_of(archive))


def _all_of(archive: Archive) -> Iterator[tuple[str, NDArray[Any]]]:
    for name in archive.members:
        try:
            yield name, archive.read(name)
        except ValueError as error:
            raise _no_archive(f"{name}: {error}") from None
