"""Files that others have a hand in: written whole or not at all, read within bounds."""

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

_DESCRIPTORS: Final = re.compile(r"/proc/[^/]+(/task/[^/]+)?/fd|/dev/fd")
_MOST_LINKS: Final = 40
_SQLITE: Final = b"SQLite format 3\0"
_NAME_BYTES: Final = 255
"""Of a file name, on every file system in use."""


class NoJsonError(ValueError):
    """What is no JSON that can be read; the message says where and why."""

    def __init__(self, reason: str, *, cut_off: bool = False) -> None:
        super().__init__(reason)
        self.cut_off = cut_off
        """Whether it ends too early."""


class OddFileError(OSError):
    """A file that is none to read or write here; `strerror` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EINVAL, reason)


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open what will be a file once the block is through; if the block raises, the file is as it was.

    A new file is made beside the one wanted, under a name that nobody can foresee, and takes its place with the mode
    and, where that is allowed, the owner that it had. A link's target is replaced, not the link. What is no regular
    file (a device, a pipe, an open descriptor such as /dev/stdout) is written into.

    Raises:
        OddFileError: if an SQLite database is there, such as the store whose runs are written: it would be lost.
        OSError: if it cannot be written.
    """
    target = _target(path)
    if target is None:
        with open(path, "wb", buffering=0) as raw:
            yield raw
        return
    if _is_database(target):
        raise OddFileError("is an SQLite database, such as a store; choose another path")
    part = target.with_name(_part_name(target.name))
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # never through a link
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            _take_over(descriptor, target)
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Return what a regular file holds.

    Args:
        path: the file; a link is followed.
        most: the most bytes that it may have.

    Raises:
        OddFileError: if it is larger, or a folder, pipe or device, which may have no end and nothing to read.
        OSError: if it cannot be read.
    """
    _refuse_nul(path)
    # Without O_NONBLOCK a pipe that nobody writes into would be waited for already here.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OddFileError(f"is {kind_of(path)}, not a file")
        with open(descriptor, "rb", closefd=False) as file:
            return _bounded(file, most)
    finally:
        os.close(descriptor)


def read_any(path: str | os.PathLike[str], most: int) -> bytes:
    """Return what a file, a pipe or a device holds; a pipe is waited for.

    Raises:
        OddFileError: if it holds more than `most` bytes.
        OSError: if it cannot be read.
    """
    _refuse_nul(path)
    with open(path, "rb") as file:
        return _bounded(file, most)


def parsed_json(data: bytes | str) -> Any:
    """Return what a text of JSON holds.

    Raises:
        NoJsonError: if it holds none, or what Python cannot read: deep nesting, integers of thousands of digits.
    """
    try:
        return json.loads(data if isinstance(data, str) else data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NoJsonError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        reason = f"no JSON at line {error.lineno}, column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
        raise NoJsonError(reason, cut_off=error.pos >= len(error.doc.rstrip())) from None
    except RecursionError:
        raise NoJsonError("nested too deeply") from None
    except ValueError:  # sys.set_int_max_str_digits
        raise NoJsonError("an integer in it has thousands of digits") from None


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """Return what lies at a path, as in "a folder"; None for a regular file, or where nothing is."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode))


def _bounded(file: IO[bytes], most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise OddFileError(f"holds more than {_size(most)}")
    return data


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def _target(path: str | os.PathLike[str]) -> Path | None:
    """Return the regular file that is to be replaced or made; None for what is written into as it is."""
    _refuse_nul(path)
    found = os.path.abspath(path)
    if not os.path.basename(os.fspath(path)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(found)
        folder = os.path.realpath(folder)
        if _DESCRIPTORS.fullmatch(folder):
            return None
        found = os.path.join(folder, name)
        if not os.path.islink(found):
            break
        found = os.path.normpath(os.path.join(folder, os.readlink(found)))
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    try:
        mode = os.stat(found).st_mode
    except FileNotFoundError:
        return Path(found)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return Path(found) if stat.S_ISREG(mode) else None


def _is_database(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:  # not there, or not to be read
        return False


def _part_name(name: str) -> str:
    ending = f".{secrets.token_hex(8)}.part"
    room = _NAME_BYTES - len(ending) - 1
    return f".{os.fsencode(name)[:room].decode(errors='ignore')}{ending}"


def _take_over(descriptor: int, target: Path) -> None:
    """Give a new file the owner and the mode of the one that it replaces."""
    try:
        before = os.stat(target)
    except FileNotFoundError:
        return
    mine = os.fstat(descriptor)
    if (before.st_uid, before.st_gid) != (mine.st_uid, mine.st_gid) and hasattr(os, "fchown"):
        with suppress(OSError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _refuse_nul(path: str | os.PathLike[str]) -> None:
    name = os.fspath(path)
    if not name:
        raise FileNotFoundError(errno.ENOENT, "the name is empty")
    if "\0" in name:
        raise OddFileError("a NUL character is in its name")
