"""Whether an exception left a call through its streamer: how whoever reads a stream cancels what makes it.

A streamer has no other way to end a run, and its exception may be of any class. The traceback shows the way that the
exception took: through a frame of the streamer's own `put` or `end`, or, where these are not written in Python or are
wrapped, through a frame that was just calling one of them.
"""

import dis
import inspect
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

_METHODS: Final = frozenset(("put", "put_draft", "end"))  # the second where a model of text diffusion streams
_LOADS: Final = ("LOAD_METHOD", "LOAD_ATTR")
_CALLS: Final = ("CALL", "PRECALL")


def left_through(error: BaseException, streamer: Any) -> bool:
    """Return whether an exception came out of `put` or `end` of this very streamer."""
    if streamer is None:
        return False
    codes = _own_codes(streamer)
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if _is_method_of(trace.tb_frame, streamer, codes) or _was_calling(trace.tb_frame, trace.tb_lasti, streamer):
            return True
        trace = trace.tb_next
    return False


def _own_codes(streamer: Any) -> frozenset[CodeType]:
    """Return the code of every such method that the streamer's class has or inherits."""
    found = (vars(kind).get(name) for kind in type(streamer).__mro__ for name in _METHODS)
    return frozenset(code for each in found if isinstance(code := getattr(each, "__code__", None), CodeType))


def _is_method_of(frame: FrameType, streamer: Any, codes: frozenset[CodeType]) -> bool:
    """Return whether a frame runs one of these methods for the streamer: another one of its class is somebody else."""
    code = frame.f_code
    return code in codes and code.co_argcount > 0 and frame.f_locals.get(code.co_varnames[0]) is streamer


def _was_calling(frame: FrameType, at: int, streamer: Any) -> bool:
    """Return whether a frame was calling such a method of the streamer, which it knows by a name or as an attribute.

    The instruction that looks the method up begins where the call begins, and what it looks it up on comes just before.
    """
    if _METHODS.isdisjoint(frame.f_code.co_names):
        return False
    instructions = list(dis.get_instructions(frame.f_code))
    call = next((each for each in reversed(instructions) if each.offset <= at), None)  # or at a cache behind it
    if call is None or not call.opname.startswith(_CALLS):  # a streamer without such a method is a mistake
        return False
    if call.positions is None or call.positions.col_offset is None:
        return False
    begin = call.positions.lineno, call.positions.col_offset
    for index, each in enumerate(instructions):
        place = each.positions
        named = each.opname in _LOADS and each.argval in _METHODS
        if named and place is not None and (place.lineno, place.col_offset) == begin:
            return _receiver(frame, instructions[:index]) is streamer
    return False


def _receiver(frame: FrameType, before: list[dis.Instruction]) -> Any:
    """Return what the last of these instructions put there: a variable, or an attribute of one; None for all else."""
    path: list[str] = []
    while before and before[-1].opname == "LOAD_ATTR":
        path.append(str(before.pop().argval))
    if not before or not before[-1].opname.startswith("LOAD_"):
        return None
    name = before[-1].argval
    name = name[-1] if isinstance(name, tuple) else name  # newer versions load two variables at once
    found = frame.f_locals.get(name, frame.f_globals.get(name))
    for attribute in reversed(path):
        found = inspect.getattr_static(found, attribute, None)  # runs nobody's code
    return found
