"""One writer per process and file, shared by the exporters that store there."""

import os
import threading
import weakref
from typing import Any

from .._internal.forks import held_by_forks
from .retention import Retention
from .store_paths import expanded
from .writer import StoreWriter

_users: "dict[str, tuple[StoreWriter, weakref.WeakSet[Any]]]" = {}
_lock = held_by_forks(threading.Lock())  # guards the above


def join(path: str | os.PathLike[str], user: object, retention: Retention | None = None) -> StoreWriter:
    """Return the writer of a file, which stays open until `user` and all others that joined have left it.

    What is kept in the file says the first to join.
    """
    with _lock:
        key = _key(path)
        if key not in _users:
            _users[key] = (StoreWriter(path, retention=retention), weakref.WeakSet())
        writer, users = _users[key]
        users.add(user)
    return writer


def leave(writer: StoreWriter, user: object, timeout: float) -> None:
    """Write what is queued, for at most about `timeout` seconds; the last user's leaving closes the file."""
    last = True
    with _lock:
        for key, (shared, users) in list(_users.items()):
            if shared is writer:
                users.discard(user)
                last = not users
                if last:
                    del _users[key]
    if last:
        writer.close(timeout)
    else:
        writer.flush(timeout)


def flush(path: str | os.PathLike[str], timeout: float) -> None:
    """Wait, for at most `timeout` seconds, until what this process has for a file is written."""
    with _lock:
        found = _users.get(_key(path))
    if found is not None:
        found[0].flush(timeout)


def _key(path: str | os.PathLike[str]) -> str:
    try:
        return os.path.realpath(expanded(path))
    except (OSError, ValueError):  # a path that names no file; the writer says so
        return os.fspath(path)
