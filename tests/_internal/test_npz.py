"""Archives of arrays from anywhere: what is wrong is seen by directory and headers, before anything is allocated."""

import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital._internal.npz import Archive, from_npz, to_npz
from tests.support.hostile_stores import archive, npy

NUMBERS = np.arange(6, dtype=np.float32)
PLAIN = npy((6,), body=NUMBERS.tobytes())
GOOD = archive(("a.npy", PLAIN), ("b.npy", PLAIN))
END = GOOD.rindex(b"PK\x05\x06")


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (npy((1,), "|O", body=b"x" * 8), "Python objects"),
        (npy((6,), "<U1", body=bytes(24)), "texts"),
        (npy((6,), "<c8", body=bytes(48)), "complex"),
        (npy((6,), "<M8[s]", body=bytes(48)), "dates"),
        (npy((1,), [("a", "<f4")], body=bytes(4)), "structures"),
        (npy((1,), ("<f4", (2,)), body=bytes(8)), "structures"),
        (npy((), body=bytes(4)), "0 dimensions"),
        (npy((1,) * 32, body=bytes(4)), "32 dimensions"),
        (npy((-6,), body=bytes(24)), "shape"),
        (npy((10**12,)), "shape"),
        (npy((0, 2**40)), "shape"),
        (npy((2**30,), body=bytes(24)), "more than"),
        (npy((7,), body=bytes(24)), "does not fit its size"),
        (npy((5,), body=bytes(24)), "does not fit its size"),
        (npy((6,), body=bytes(24), version=2), "version 1.0"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"(" * 60000, "version 1.0"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 1000) + b"(" * 1000, "header"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 33) + b"__import__('os').system('touch x')"[:33], "header"),
        (b"hello", "version 1.0"),
    ],
)
def test_one_wrong_array_is_named_and_the_other_is_read(member: bytes, why: str) -> None:
    data = archive(("bad.npy", member), ("good.npy", PLAIN))
    tracemalloc.start()
    found = Archive(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(found.members) == ["good"]
    assert re.search(why, found.wrong["bad"]), found.wrong
    assert found.read("good").tolist() == NUMBERS.tolist()
    assert peak < 4 * 1024**2
    with pytest.raises(ValueError, match="bad"):
        from_npz(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN,
        GOOD[:-30],
        GOOD + b"more",
        GOOD[: END + 10] + struct.pack("<H", 3) + GOOD[END + 12 :],
        GOOD[: END + 8] + struct.pack("<HH", 0xFFFF, 0xFFFF) + GOOD[END + 12 :],
        GOOD[: END + 16] + struct.pack("<L", 7) + GOOD[END + 20 :],
        b"x" * 50 + GOOD,
        archive(*((f"{number}.npy", b"") for number in range(1025))),
    ],
    ids=["empty", "no zip", "cut", "trailing", "count", "zip64", "offset", "leading", "many"],
)
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an \.npz archive"):
        Archive(data)


def test_members_that_lie_over_each_other_are_refused() -> None:
    entry = GOOD.rindex(b"PK\x01\x02")  # the second's place, which becomes the first's
    overlapping = GOOD[: entry + 42] + struct.pack("<L", 0) + GOOD[entry + 46 :]
    with pytest.raises(ValueError, match="lie over each other"):
        Archive(overlapping)


def test_encrypted_doubled_and_otherwise_packed_members_are_left_out() -> None:
    entry = GOOD.index(b"PK\x01\x02")
    encrypted = GOOD[: entry + 8] + b"\x01\x00" + GOOD[entry + 10 :]
    assert Archive(encrypted).wrong == {"a": "it is encrypted"}
    doubled = GOOD.replace(b"b.npy", b"a.npy")
    assert (list(Archive(doubled).members), *Archive(doubled).wrong) == ([], "a")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "deflate" in Archive(archive(("a.npy", PLAIN), method=method)).wrong["a"]


def test_a_damaged_checksum_is_seen() -> None:
    damaged = bytearray(archive(("a.npy", PLAIN), method=zipfile.ZIP_STORED))
    damaged[damaged.index(NUMBERS.tobytes()) + 5] ^= 0xFF
    found = Archive(bytes(damaged))
    if "a" not in found.wrong:  # a small member is read with its header
        with pytest.raises(ValueError, match="damaged"):
            found.read("a")


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", ">i8", "|u1", "|b1"])
@pytest.mark.parametrize("fortran", [False, True])
def test_plain_numbers_of_any_order_are_what_they_were(dtype: str, fortran: bool) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    body = values.tobytes("F" if fortran else "C")
    found = Archive(archive(("a.npy", npy((2, 3), dtype, fortran=fortran, body=body)))).read("a")
    assert found.tolist() == values.tolist()
    assert found.dtype.isnative
    assert found.flags.writeable
    assert from_npz(to_npz({"a": values}))["a"].tolist() == values.tolist()
