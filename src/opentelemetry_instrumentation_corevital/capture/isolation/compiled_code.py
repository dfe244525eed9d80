"""Calls in the reach of `torch.compile`: our part of them runs as it is, and what is compiled is what it was without.

Dynamo, where it is on, sees every Python frame that is called. Its public way to leave a frame out needs its import,
which takes seconds; the C functions below that are looked for once, and without them nothing is left out.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import torch
from torch.compiler import is_compiling


def _private(name: str) -> Any:
    return getattr(getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None), name, None)


_callback: Final = _private("get_eval_frame_callback")
_set_callback: Final = _private("set_eval_frame")


def leave_out(function: Any) -> None:
    """Let dynamo run a function's frame as it is, and go on with what that calls."""
    code = getattr(function, "__code__", None)
    if code is None:
        return
    skip, strategy, action = map(_private, ("skip_code", "_FrameExecStrategy", "_FrameAction"))
    if skip is not None:  # before torch 2.7
        skip(code)
    elif strategy is not None and action is not None:
        _private("set_code_exec_strategy")(code, strategy(action.SKIP, action.DEFAULT))


class Compiled:
    """A method that is called so that dynamo sees its frames, out of code of which it sees none.

    Args:
        method: the method, bound.
        callback: dynamo's, as `get_eval_frame_callback` has returned it.
    """

    def __init__(self, method: Callable[..., Any], callback: Any) -> None:
        self._method = method
        self._callback = callback

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        _set_callback(self._callback)
        try:
            return self._method(*args, **kwargs)
        finally:
            _set_callback(None)


def left_out(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wrapper of a method that runs as it is, while the method is compiled if it would be without."""

    @functools.wraps(wrapper)
    def outside(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if is_compiling():  # part of a larger graph
            return wrapped(*args, **kwargs)
        callback = None if _callback is None else _callback()
        if callback is None:
            return wrapper(wrapped, instance, args, kwargs)
        _set_callback(None)
        try:
            return wrapper(Compiled(wrapped, callback), instance, args, kwargs)
        finally:
            _set_callback(callback)

    leave_out(outside)
    return outside
