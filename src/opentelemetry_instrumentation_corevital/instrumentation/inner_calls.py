"""Carries rollbacks out: a loop ends for one, its ids are cut back, and generate() goes on within the same call."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from .._internal.safety import report_internal_error, shielded
from ..policies import RollBack
from .call_context import STREAMER_POSITION
from .policy_engine import PolicyEngine

if TYPE_CHECKING:
    from ..capture.session.session import Session

_SEQUENCE: Final = 0
"""A call whose tokens can be taken back has one sequence."""


def why_no_rollback(session: "Session", policies: Sequence[RollBack]) -> str | None:
    """Return why these policies cannot take tokens of a call back; None where they can. Asked before the first step."""
    from ..capture.attach.thread_state import report_to, restore
    from ..capture.session.rollback import why_not, why_not_changed

    reason = why_not(session)
    before = report_to(None, None)  # processors are made on trial
    try:
        reasons = (why_not_changed(session.call, policy.changes) for policy in policies)
        return reason or next(filter(None, reasons), None)
    finally:
        restore(before)


class HeldStreamer:
    """Stands before a caller's streamer, for which several loops are one.

    Args:
        streamer: of the caller.
        pending: tells whether the loop that ends is followed by another one.
    """

    def __init__(self, streamer: Any, pending: Callable[[], bool]) -> None:
        self._streamer = streamer
        self._pending = pending
        self._ends_later = False
        self._knows_next = False
        """Whether what comes next is known: a further loop begins with the tokens that are kept."""

    def go_on(self) -> None:
        """Be ready for a further loop."""
        self._ends_later, self._knows_next = False, True

    def put(self, value: Any) -> None:
        """Hand tokens on, but for those with which a further loop begins."""
        if self._knows_next:
            self._knows_next = False
        else:
            self._streamer.put(value)

    def end(self) -> None:
        """End the streamer, if this is the last loop."""
        if self._pending():
            self._ends_later = True
        else:
            self._streamer.end()

    def end_after_all(self) -> None:
        """End the streamer of a loop that was to be followed by another one, and is not."""
        if self._ends_later:
            self._streamer.end()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streamer, name)


class Rollbacks:
    """Has tokens of one call taken back where a policy asks for it.

    Args:
        engine: decides.
        session: of the call.
    """

    def __init__(self, engine: PolicyEngine, session: "Session") -> None:
        self._engine = engine
        self._session = session
        self._began = time.monotonic()
        self._changes: dict[str, Any] = {}
        self.streamer: HeldStreamer | None = None
        """What stands before the caller's streamer."""
        self.kept = 0
        """New tokens that the last rollback kept."""

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the call's arguments, with a streamer that knows of rollbacks behind ours."""
        from ..capture.session.rollback import ROLLBACK

        given, engine = dict(kwargs), self._engine  # not self: a cycle would keep the streamer
        streamer = args[STREAMER_POSITION] if len(args) > STREAMER_POSITION else given.get("streamer")
        if streamer is None or not callable(getattr(streamer, ROLLBACK, None)):
            return args, given
        held = self.streamer = HeldStreamer(streamer, lambda: engine.roll_back is not None)
        if len(args) > STREAMER_POSITION:
            return (*args[:STREAMER_POSITION], held, *args[STREAMER_POSITION + 1 :]), given
        return args, {**given, "streamer": held}

    def carry_out(self, result: Any) -> dict[str, Any] | None:
        """Take back what a policy has asked for; return generate()'s keywords for what comes, None where nothing does.

        Args:
            result: what generate() has returned.
        """
        from ..capture.session.rollback import continuation

        order, self._engine.roll_back = self._engine.roll_back, None
        if order is None:
            return None
        intervention, arguments = order.intervention, None
        try:
            to_step, changes = intervention.to_step or 0, {**self._changes, **order.policy.changes}
            seconds = time.monotonic() - self._began
            found = continuation(self._session, result, to_step, changes, seconds)
            self._session.go_back(to_step)
            arguments, self._changes = dict(found.arguments), changes
            intervention = replace(intervention, rollback_mode=found.mode)
            if self.streamer is not None:
                arguments["streamer"] = self.streamer
                self.streamer.go_on()
        except Exception as error:
            report_internal_error("rollback", error)
            intervention = replace(intervention, outcome="failed")
        self._engine.record(_SEQUENCE, intervention)
        self.kept = intervention.to_step or 0
        return arguments

    def listeners(self) -> Iterator[Callable[[int], Any]]:
        """Yield the method `rollback(to_step)` of each of the caller's objects that has one."""
        from ..capture.session.rollback import ROLLBACK

        given = self._session.call.arguments
        for each in (*(given.get("logits_processor") or ()), *(given.get("stopping_criteria") or ())):
            if callable(found := getattr(each, ROLLBACK, None)):
                yield found
        if callable(found := getattr(given.get("streamer"), ROLLBACK, None)):
            yield found


def generate(
    wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], rollbacks: Rollbacks | None
) -> Any:
    """Run `wrapped`, and again behind the tokens that are kept for as long as policies take some back.

    What the caller's own objects raise when they are told is the call's exception, as that of a streamer's `put` is.
    """
    if rollbacks is None:
        return wrapped(*args, **kwargs)
    with shielded("rollback.arguments"):
        args, kwargs = rollbacks.arguments(args, kwargs)
    while True:
        result, further, tell = wrapped(*args, **kwargs), None, list[Callable[[int], Any]]()
        with shielded("rollback.carry_out"):
            further = rollbacks.carry_out(result)
            if further is not None:
                tell = list(rollbacks.listeners())
        if further is None:
            if rollbacks.streamer is not None:
                rollbacks.streamer.end_after_all()
            return result
        for rolled_back in tell:
            rolled_back(rollbacks.kept)
        args, kwargs = (), further
