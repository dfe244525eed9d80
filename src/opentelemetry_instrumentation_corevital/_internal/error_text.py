"""What CoreVital tells of an exception: types and places. Its message can quote a prompt, and logs may be exported."""

import os
import traceback
from collections.abc import Iterator
from typing import Final

_FRAMES: Final = 8
"""Frames that are logged of each exception, the innermost: those that say where it happened."""

_messages = False


def allow_messages(allowed: bool) -> None:
    """Say whether messages of exceptions may be logged too: where message content is captured."""
    global _messages  # noqa: PLW0603
    _messages = allowed


def describe(error: BaseException) -> str:
    """Return an exception's types and places, the outermost exception first, without messages unless they are allowed.

    Where messages are allowed it is the whole traceback.
    """
    if _messages:
        return "".join(traceback.format_exception(error)).rstrip()
    return ", caused by ".join(f"{type(each).__qualname__} at {_places(each)}" for each in _chain(error))


def error_name(error: BaseException) -> str:
    """Return an exception's class as OpenTelemetry's `error.type` wants it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _places(error: BaseException) -> str:
    # Only file, line and function: a line of source code may hold a prompt, too.
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)][-_FRAMES:]
    places = [f"{os.path.basename(code.co_filename)}:{line} in {code.co_qualname}" for code, line in reversed(frames)]
    return " < ".join(places) or "an unknown place"
