"""Patches that are there while a monitor's calls go on, and hands each of these calls to who records it."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from .._internal.safety import shielded
from ..instrumentation.call_context import PromptHint, calling_context, current_hint, prompt_hint
from ..instrumentation.patched_methods import lock, patch, unpatch
from .telemetry import CallTelemetry


@dataclass(eq=False, frozen=True, slots=True)
class _User:
    process: int
    thread: int


_users = set[_User]()


@contextmanager
def patched() -> Iterator[None]:
    """Have the methods patched for the block; afterwards nothing is left of that, unless somebody else wants it."""
    user = _User(os.getpid(), threading.get_ident())
    with lock:
        _leave_to_parent()
        _users.add(user)
        patch(user)
    try:
        yield
    finally:
        with lock:
            _users.discard(user)
            unpatch(user)


def _leave_to_parent() -> None:
    """In a forked child, forget the calls that went on in other threads of its parent: no thread ends them here."""
    for user in [each for each in _users if each.process != os.getpid() and each.thread != threading.get_ident()]:
        _users.discard(user)
        unpatch(user)


class RecordedCalls:
    """Records generate() calls, and writes each into the store, if there is one.

    Args:
        telemetry: with what they are recorded.
        tokenizer: of their model; None where none is known.
    """

    def __init__(self, telemetry: CallTelemetry, tokenizer: Any) -> None:
        self._telemetry = telemetry
        self._tokenizer = tokenizer

    def generate(self, wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run `wrapped` as it is, recorded; return and raise exactly what it does."""
        hint = PromptHint()
        with shielded("monitor.hint"):
            hint = self._hint(kwargs)
        try:
            with prompt_hint(hint):
                return self._telemetry.recorder.generate(wrapped, model, args, kwargs)
        finally:
            with shielded("monitor.store"):
                self._telemetry.write()

    def _hint(self, kwargs: Mapping[str, Any]) -> PromptHint:
        told = current_hint(calling_context(kwargs.get("streamer")))
        return told if told.tokenizer is not None else replace(told, tokenizer=self._tokenizer)
