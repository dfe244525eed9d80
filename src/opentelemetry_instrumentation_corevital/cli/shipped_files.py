"""The Collector's configurations, alert rules and dashboard that come with the package, and copies of them."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BASE: Final = "collector-config.yaml"
OVERLAYS: Final = "collector"
_OF_THE_SOURCE: Final = "docker"
"""Folder of an image that is built from the source tree: it would not build elsewhere."""
_PACKAGE: Final = Path(__file__).parent.parent
_ROOTS: Final = (_PACKAGE / "shipped", _PACKAGE.parent.parent)
"""Where the files are: in what a wheel installs, and in a source tree."""


class AlreadyThereError(Exception):
    """Files that would be written over; `names` has them, from the folder."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def shipped_root() -> Path:
    """Return the folder that holds the base and the folder of overlays.

    Raises:
        FileNotFoundError: if neither a wheel nor a source tree brought them.
    """
    for root in _ROOTS:
        if (root / BASE).is_file() and (root / OVERLAYS).is_dir():
            return root
    raise FileNotFoundError(errno.ENOENT, "these files did not come with the package")


def shipped_files(root: Path) -> list[Path]:
    """Return every file that works anywhere, from the root, in the order of their names; the base comes first."""
    return [Path(BASE), *sorted(path.relative_to(root) for path in _files(root / OVERLAYS))]


def _files(folder: Path) -> Iterator[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return (path for path in found if path.relative_to(folder).parts[0] != _OF_THE_SOURCE)


def write_shipped(folder: Path, *, force: bool) -> list[Path]:
    """Write the files into a folder, all or none; return their names, from the folder.

    They are copied aside first, within the folder, so that a full disk leaves nothing of them; a folder that was not
    there goes again.

    Args:
        folder: made where it is not there.
        force: write over files of these names; what else is in the folder stays.

    Raises:
        AlreadyThereError: if there are such files, without `force`.
        OSError: if they cannot be read or written.
    """
    root = shipped_root()
    names = shipped_files(root)
    if not force and (there := [str(name) for name in names if os.path.lexists(folder / name)]):
        raise AlreadyThereError(there)
    made = _make(folder)
    placed: list[Path] = []
    try:
        with tempfile.TemporaryDirectory(prefix=".corevital-", dir=folder) as aside:
            for name in names:
                (Path(aside) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, Path(aside) / name)
            for name in names:
                made += _make((folder / name).parent)
                new = not os.path.lexists(folder / name)
                os.replace(Path(aside) / name, folder / name)
                placed += [folder / name] if new else []
    except BaseException:
        _remove(placed, made)
        raise
    return names


def _make(folder: Path) -> list[Path]:
    """Make a folder with those above it; return the ones that were not there, outermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _remove(files: list[Path], folders: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
    for folder in reversed(folders):
        if not any(folder.iterdir()):
            folder.rmdir()
