"""Opening a source of runs by its URL. A path without a scheme is a file of SQLite."""

import os
import sys
from collections.abc import Callable
from typing import Final

from .._internal import generate_state
from .source import RunSource
from .store_error import StoreError
from .store_paths import scheme_of

_SQLITE: Final = "sqlite:///"


def open_store(path: str | os.PathLike[str], *, query_seconds: float | None = None) -> RunSource:
    """Open a source of runs. What this process has exported to a file, and has not written yet, is waited for.

    Args:
        path: of a file, or a URL: `sqlite:///` and a file's path, as in `sqlite:///runs/corevital.db`; from the root it
            is `sqlite:////var/lib/corevital/runs.db`. Nothing in a URL is an escape.
        query_seconds: what takes longer than this ends with a StoreError; None: nothing does.

    Raises:
        StoreError: if there is no such file or it is not a store, or for another scheme.
    """
    scheme, text = scheme_of(path), os.fsdecode(path)
    source = _open_file(text) if scheme is None else _opener(scheme, text)(text)
    if query_seconds is not None:
        source.limit_queries(query_seconds)
    return source


def local_file(url: str | os.PathLike[str]) -> str | None:
    """Return the file that a path or a URL names; None for a source that is no file here.

    Nothing is opened. A URL names a file that is there; a path may be of one that is made later.

    Raises:
        StoreError: if it names neither a file nor a source.
    """
    text = os.fsdecode(url)
    scheme = scheme_of(text)
    if scheme is None:
        return text
    _opener(scheme, text)
    if scheme != "sqlite":
        return None
    path = _path_in(text)
    if not os.path.exists(os.path.expanduser(path)):
        raise StoreError(f"{text}: is a URI of the file {path}, and there is no such file; a path makes one.")
    return path


def _opener(scheme: str, url: str) -> Callable[[str], RunSource]:
    if scheme not in SOURCES:
        there = " and ".join(f"{name}:" for name in SOURCES)
        raise StoreError(
            # Not all of it: it may hold a password.
            f"{url[: len(scheme)]}:...: is a URI of the scheme {scheme}:, and runs are read from {there} (such as "
            f"{_SQLITE}runs/corevital.db); or name a file, such as runs/corevital.db."
        )
    return SOURCES[scheme]


def _path_in(url: str) -> str:
    """Return the path in a URL, as it is written: nothing in it is an escape.

    Raises:
        StoreError: if it is no such URL, or has options behind its path.
    """
    path = url[len(_SQLITE) :]
    if url[: len(_SQLITE)].lower() != _SQLITE or "?" in path or "#" in path:
        raise StoreError(
            f"{url}: is a URI of another form; write {_SQLITE}runs/corevital.db, with four slashes before a path from "
            "the root, and nothing behind it; or name the file alone."
        )
    return path


def _open_file(path: str) -> RunSource:
    from .database import BUSY_SECONDS
    from .sqlite_source import Store

    shared_writers = sys.modules.get(f"{__package__}.shared_writers")  # not imported: then nothing was exported
    if shared_writers is not None:
        shared_writers.flush(path, generate_state.patience(BUSY_SECONDS))
    return Store(path)


def _open_sqlite(url: str) -> RunSource:
    path = _path_in(url)
    try:
        return _open_file(path)
    except StoreError as error:
        raise StoreError(f"{url}: is a URI of {error}", command=error.command) from None


SOURCES: Final[dict[str, Callable[[str], RunSource]]] = {"sqlite": _open_sqlite}
"""Scheme -> what opens a URL of it. One more source of runs is one more entry here."""
