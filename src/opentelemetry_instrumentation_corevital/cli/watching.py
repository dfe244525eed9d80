"""Following calls of a store while they go on."""

import time
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..presentation.live_text import LiveCallView, Shown
from ..presentation.run_table import verdict_line
from ..store import RunSource, RunSummary, StoreError
from ..store.arriving_steps import HOW_STEPS_COME, LiveStep, RunningCall
from .live_screen import Screen, reader_is_gone, screen
from .printing import echo, run_console

_RECENT_NS: Final = 600 * 10**9
"""A call of which no step has come for so long is not among those that go on: its process may have been killed."""
_STALLED_NS: Final = 30 * 10**9
"""The call that is shown gives way to another one when it has had no step for so long."""
_LATE_SECONDS: Final = 3.0
"""How long steps are waited for that come after their call's span."""
_IDLE_SECONDS: Final = 10
_ID_LENGTH: Final = 12
_MOST_STEPS: Final = 2000
_FEWEST_CHARACTERS: Final = 4
_NO_TEXT: Final = (
    "text: not stored with the steps of this run; "
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_and_event stores it"
)

CallKey = tuple[str, str]


class Watching:
    """Shows calls of a store while they go on.

    Args:
        store: where their steps come.
        interval: seconds between two looks.
    """

    def __init__(self, store: RunSource, interval: float) -> None:
        self._store = store
        self._interval = interval

    def list_once(self) -> None:
        """Print a line for each call that goes on.

        Raises:
            UserError: if no step has ever come, so that nobody can tell.
        """
        calls = self._recent()
        if not calls and not self._store.has_live_steps():
            raise UserError(f"{self._store.name}: holds no step of a run that goes on. {HOW_STEPS_COME}")
        console = run_console()
        for call in calls:
            console.print(self._line(call, console.width))
        if not calls:
            console.print("No run goes on.")

    def _line(self, call: RunningCall, width: int) -> Text:
        followed = _Followed(self._store, call)
        followed.read()
        name = f"{_name(call)}  "
        return Text(name, "bold").append_text(followed.status(width - len(name)))

    def one(self, run: str, *, once: bool = False) -> None:
        """Show one call until its span comes, then its verdict.

        Args:
            run: as `RunSource.run` takes it.
            once: show what there is, and end.

        Raises:
            StoreError: if no run or several fit.
        """
        start, _, index = run.lower().partition(":")
        call = self._call_named(run, start, index)
        if call is None:
            for each in [self._store.run(run).summary] if index else self._store.call(run):
                run_console().print(verdict_line(each), soft_wrap=True)
            return
        sequence = int(index or 0)
        followed = _Followed(self._store, call, sequence)
        with screen() as shown:
            shown.show([_heading(call)])
            ended = followed.show(shown)
            while ended is None and not once and not reader_is_gone():
                time.sleep(self._interval)
                ended = followed.show(shown)
            shown.end(followed.status)
            if ended is not None:
                _tell([each for each in ended if not index or each.sequence_index == sequence], shown)

    def _call_named(self, run: str, start: str, index: str) -> RunningCall | None:
        """Return the call with steps that a name fits; None where only the stored runs can tell."""
        if (index and not index.isdecimal()) or (start != "last" and len(start) < _FEWEST_CHARACTERS):
            return None
        if start == "last":
            return next(reversed(self._recent()), None)
        found = self._store.live_calls_named(start)
        going = [call for call in found if self._store.runs_of(call) is None] if len(found) > 1 else found
        if len(going) > 1:
            names = ", ".join(dict.fromkeys(call.span_id for call in going))
            raise StoreError(f"run {run}: several that go on begin so: {names}; name one of them.")
        if not found and not self._store.beginning_with(start):
            raise UserError(
                f"run {run}: {self._store.name} holds neither such a run nor a step of one. {HOW_STEPS_COME}"
            )
        return next(iter(going), None)

    def everything(self) -> None:
        """Show whatever goes on, one call after the other, until the reader has gone or Ctrl-C."""
        if not self._store.has_live_steps():
            echo(f"{self._store.name}: holds no step of a run that goes on yet. {HOW_STEPS_COME}", err=True)
        known = {(call.trace_id, call.span_id): call for call in self._recent()}
        behind = max((call.last_key for call in known.values()), default=0)
        followed: _Followed | None = None
        with screen() as shown:
            if len(known) > 1:
                width = run_console().width
                shown.show([Shown(self._line(call, width), alone=True) for call in known.values()])
            while not reader_is_gone():
                for call in self._store.live_calls(behind, time.time_ns() - _RECENT_NS):
                    known[call.trace_id, call.span_id] = call
                    behind = max(behind, call.last_key)
                followed = self._next(followed, known, shown)
                if followed is None:
                    shown.show([], lambda width: Text("no run goes on; waiting for one (Ctrl-C ends)"[:width], "dim"))
                elif (ended := followed.show(shown, *_others(known))) is not None:
                    shown.end(followed.status)
                    _tell(ended, shown)
                    known.pop(followed.key, None)
                    followed = None
                    continue
                time.sleep(self._interval)

    def _next(
        self, followed: "_Followed | None", known: dict[CallKey, RunningCall], shown: Screen
    ) -> "_Followed | None":
        """Return what is shown now: the call that is, else the one that has had a step last."""
        for key, call in list(known.items()):
            if followed is not None and key == followed.key:
                continue
            ended = self._store.runs_of(call)
            if ended is not None:  # beside the one that is shown
                shown.show([Shown(verdict_line(each), alone=True) for each in ended])
            if ended is not None or time.time_ns() - call.arrived_ns > _RECENT_NS:
                del known[key]
        others = [call for key, call in known.items() if followed is None or key != followed.key]
        newest = max(others, key=lambda call: call.arrived_ns, default=None)
        if newest is None or (followed is not None and not followed.stalled(newest)):
            return followed
        shown.end(None if followed is None else followed.status)
        shown.show([_heading(newest)])
        return _Followed(self._store, newest)

    def _recent(self) -> list[RunningCall]:
        return self._store.live_calls(since_ns=time.time_ns() - _RECENT_NS)


class _Followed:
    """One call, as far as it has been read."""

    def __init__(self, store: RunSource, call: RunningCall, sequence: int = 0) -> None:
        self.key: CallKey = (call.trace_id, call.span_id)
        self._store = store
        self._call = call
        self._view = LiveCallView(sequence)
        self._behind = 0
        self._arrived_ns = 0
        self._ended_at: float | None = None
        self._more: Sequence[str] = ()
        self._told_no_text = False

    def stalled(self, other: RunningCall) -> bool:
        """Return whether no step has come for a while, and some of another call since."""
        return other.arrived_ns - self._arrived_ns > _STALLED_NS

    def show(self, shown: Screen, *more: str) -> Sequence[RunSummary] | None:
        """Show what has come since; return the call's runs once it is over and all its steps are shown."""
        self._more = more
        ended = self._store.runs_of(self._call)  # before the steps: those that came before the span are read then
        shown.show(self.read(), self.status)
        if ended is None:
            return None
        self._ended_at = self._ended_at or time.monotonic()
        expected = max(
            (run.output_tokens or 0 for run in ended if run.sequence_index == self._view.sequence), default=0
        )
        late = self._view.steps < expected and time.monotonic() - self._ended_at < _LATE_SECONDS
        return None if late else ended

    def read(self) -> list[Shown]:
        """Return what the steps that came since add."""
        shown: list[Shown] = []
        while True:
            steps = self._store.live_steps(self._call, self._behind, limit=_MOST_STEPS)
            if steps:
                self._behind, self._arrived_ns = steps[-1].key, steps[-1].arrived_ns
            for step in sorted(steps, key=lambda step: step.step_index):  # a Collector may have sent them out of order
                shown += self._taken(step)
            if len(steps) < _MOST_STEPS:
                return shown

    def _taken(self, step: LiveStep) -> list[Shown]:
        found = self._view.take(step, step.token_text)
        if step.token_text is None and not self._told_no_text:
            self._told_no_text = True
            found.insert(0, Shown(Text(_NO_TEXT, "dim"), alone=True))
        return found

    def status(self, width: int) -> Text:
        """Return how the call stands, in one line."""
        idle = (time.time_ns() - self._arrived_ns) // 10**9 if self._arrived_ns and self._ended_at is None else 0
        waited = [f"no step for {idle} s"] if idle >= _IDLE_SECONDS else []
        return self._view.status(width, *waited, *self._more)


def _tell(runs: Sequence[RunSummary], shown: Screen) -> None:
    lines = [Shown(verdict_line(run), alone=True) for run in runs]
    shown.show(lines or [Shown(Text("its call is over, and no run of it was judged"), alone=True)])


def _others(known: dict[CallKey, RunningCall]) -> list[str]:
    others = len(known) - 1
    return [f"+{others} run{'s' if others > 1 else ''}"] if others > 0 else []


def _name(call: RunningCall) -> str:
    return one_line(call.trace_id[:_ID_LENGTH])


def _heading(call: RunningCall) -> Shown:
    service = f" of {one_line(call.service_name, 60)}" if call.service_name else ""
    return Shown(Text(f"run {_name(call)}{service}", "bold"), alone=True)
