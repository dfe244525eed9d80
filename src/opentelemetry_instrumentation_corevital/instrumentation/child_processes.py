"""Children of `multiprocessing`: what they have measured is exported before they end.

Those that were forked end by `os._exit`, without the exit handlers of the interpreter, on which the SDK relies. What
runs there are the finalizers of `multiprocessing`. A child throws away those that it inherits, so each makes its own.
"""

import sys
from collections.abc import Callable
from typing import Final

_LAST: Final = -1000
"""Priority of the finalizer: after those of others, and after the child's own children have ended."""


class _Care:
    """Lives as long as children are to be prepared: `multiprocessing` refers to it weakly."""


_care: _Care | None = None


def prepare_each(prepare: Callable[[], None]) -> None:
    """Call `prepare` in every child as it begins, and now if this process is a child."""
    global _care  # noqa: PLW0603
    from multiprocessing import util

    def begins(_care: _Care) -> None:
        prepare()

    _care = _Care()
    util.register_after_fork(_care, begins)
    if is_child():
        prepare()


def is_child() -> bool:
    """Return whether `multiprocessing` has started this process."""
    from multiprocessing import parent_process

    # One that was spawned learns of its parent only after it has imported the program's main module.
    return parent_process() is not None or "--multiprocessing-fork" in sys.orig_argv


def prepare_none() -> None:
    """Undo `prepare_each`. A child that was prepared still exports what it has measured."""
    global _care  # noqa: PLW0603
    _care = None


def call_at_end(action: Callable[[], None]) -> None:
    """Call `action` when this child ends: by return, by an exception, or after the last task of a pool."""
    from multiprocessing import util

    util.Finalize(None, action, exitpriority=_LAST)
