"""Which greenlet runs: those of a thread share its `threading.local`, unless gevent has patched that.

Nothing is imported for it. A thread's own greenlet, the one without a parent, stands for the thread: it is the only
one as long as nobody has loaded greenlet.
"""

import sys
import weakref
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def loaded() -> bool:
    """Whether there can be several greenlets."""
    return "greenlet" in sys.modules


def running() -> Any | None:
    """Return the greenlet that runs; None for the thread's own."""
    get = getattr(sys.modules.get("greenlet"), "getcurrent", None)
    found = None if get is None else get()
    return None if found is None or found.parent is None else found


class Owner:
    """The greenlet that made this. Does not keep it alive: it ends when nobody refers to it any more."""

    __slots__ = ("_greenlet",)

    def __init__(self) -> None:
        greenlet = running()
        self._greenlet = None if greenlet is None else weakref.ref(greenlet)

    @property
    def runs(self) -> bool:
        """Return whether it is the one that runs now."""
        greenlet = running()
        return greenlet is None if self._greenlet is None else greenlet is not None and self._greenlet() is greenlet


class PerGreenlet(Generic[T]):
    """A value of every greenlet of a thread. Keeps no greenlet alive."""

    def __init__(self) -> None:
        self._own: T | None = None
        self._others: weakref.WeakKeyDictionary[Any, T] = weakref.WeakKeyDictionary()

    def get(self) -> T | None:
        """Return the value of the greenlet that runs."""
        greenlet = running()
        return self._own if greenlet is None else self._others.get(greenlet)

    def set(self, value: T | None) -> None:
        """Give the greenlet that runs a value; None: none."""
        greenlet = running()
        if greenlet is None:
            self._own = value
        elif value is None:
            self._others.pop(greenlet, None)
        else:
            self._others[greenlet] = value

    def values(self) -> list[T]:
        """Return the values of all."""
        return [value for value in (self._own, *self._others.values()) if value is not None]
