"""Options of the exporters that were given to `instrument()`: a keyword wins over the environment.

The SDK makes exporters before or after it; both kinds get them. An exporter keeps what it has got when CoreVital is
switched off again, since what it was handed before that may still wait for its export.
"""

import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final, Protocol

from .._internal.forks import held_by_forks

Keywords = Mapping[str, Any]
OPTIONS: Final = ("console", "sqlite_path", "sqlite_retention_days", "sqlite_max_bytes")


class User(Protocol):
    """What uses the options: an exporter."""

    def use(self, given: Keywords) -> None:
        """Take these options instead of earlier ones."""


_lock = held_by_forks(threading.Lock())  # guards what follows
_given: Keywords = {}
_users: "weakref.WeakSet[User]" = weakref.WeakSet()


def give(options: Keywords) -> None:
    """Hand options of `instrument()` to the exporters that there are and that will be; those of others are left out."""
    global _given  # noqa: PLW0603
    chosen = {name: options[name] for name in OPTIONS if name in options}
    with _lock:
        _given = chosen
        users = list(_users)
    for user in users:
        user.use(chosen)


def take_back() -> None:
    """Hand nothing to exporters that are made from now on."""
    global _given  # noqa: PLW0603
    with _lock:
        _given = {}


def given() -> Keywords:
    """Return what an exporter gets that is made now."""
    return _given


def join(user: User) -> Keywords:
    """Hand options to an exporter, now and whenever others are given."""
    with _lock:
        _users.add(user)
        return _given
