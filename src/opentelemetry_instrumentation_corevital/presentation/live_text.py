"""A call that goes on, as a person reads it: its text as it comes, what warns, and one line of how it stands."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.text import Text

from .._internal.printable import one_line, printable
from ..assessment.risk import risk_level
from ..catalogue.spelling import for_people
from .panel import level_style, sparkline
from .shapes import StepShape
from .text_lines import columns, cut
from .token_strip import colour

_GAP: Final = "  "
_BARS: Final = 24
_FEWEST_BARS: Final = 6
_MOST_ENTROPIES: Final = 240
_MOST_NAME: Final = 40
_AWAY_STEPS: Final = 16
"""A flag or a warning that comes back sooner has not begun anew: some flicker from step to step."""

FLAG_STYLE: Final = "bold red"
WARNING_STYLE: Final = "yellow"
NO_RISK: Final = "risk and warnings: not told step by step in this run; capture=full tells them"


@dataclass(frozen=True, slots=True)
class Shown:
    """Something to show: a piece of text, or a line of its own."""

    text: Text
    alone: bool = False


@dataclass(slots=True)
class _SequenceSoFar:
    """What the steps of one sequence have said so far."""

    steps: int = 0
    risk: float | None = None
    warnings: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    last_true: dict[str, int] = field(default_factory=dict)
    """Flag or warning -> the last step at which it was there."""


@dataclass(slots=True)
class LiveCallView:
    """What has been seen of a call: each step changes it, and `take` returns what the step adds to what is shown."""

    sequence: int = 0
    """The sequence whose text is shown; of the others there is a count, their highest risk, and what warns."""
    limit: int | None = None
    """How many steps it may have; None: not known."""
    _seen: dict[int, _SequenceSoFar] = field(default_factory=dict)
    _entropies: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_ENTROPIES))
    _told_no_risk: bool = False

    @property
    def steps(self) -> int:
        """Return how many steps of the shown sequence have come."""
        return self._seen[self.sequence].steps if self.sequence in self._seen else 0

    def take(self, step: StepShape, piece: str | None = None) -> list[Shown]:
        """Take a step; return what is new to show.

        Args:
            step: the next one of its sequence.
            piece: the text that its token adds; None: text is not known.
        """
        seen = self._seen.setdefault(step.sequence_index, _SequenceSoFar())
        if step.step_index < seen.steps:  # it came a second time, or late
            return []
        seen.steps = step.step_index + 1
        seen.risk = step.risk_so_far if step.risk_so_far is not None else seen.risk
        shown: list[Shown] = []
        if step.sequence_index == self.sequence:
            if step.entropy is not None:
                self._entropies.append(step.entropy)
            if piece:
                bits = step.surprisal
                shown.append(Shown(Text(printable(piece), "" if bits is None else colour(bits))))
            if step.risk_so_far is None and step.warning_signals is None and not self._told_no_risk:
                self._told_no_risk = True
                shown.append(Shown(Text(NO_RISK, "dim"), alone=True))
        return shown + self._begun(step, seen)

    def ending(self, piece: str) -> list[Shown]:
        """Return what is left to show of the text when it is over."""
        return [Shown(Text(printable(piece)))] if piece else []

    def _begun(self, step: StepShape, seen: _SequenceSoFar) -> list[Shown]:
        """Return a line for each flag and warning that begins."""
        flags, warnings = tuple(step.flags or ()), tuple(step.warning_signals or ())
        named = [(name, FLAG_STYLE) for name in flags] + [(name, WARNING_STYLE) for name in warnings]
        new = [
            (name, style)
            for name, style in named
            if step.step_index - seen.last_true.get(name, -_AWAY_STEPS) >= _AWAY_STEPS
        ]
        seen.flags, seen.warnings = flags, warnings
        seen.last_true.update(dict.fromkeys((*flags, *warnings), step.step_index))
        where = f"step {step.step_index}" if step.sequence_index == self.sequence else self._of(step)
        risk = "" if step.risk_so_far is None else f" (risk so far {step.risk_so_far:.2f})"
        return [Shown(Text(f"{where}: {_word(name)}{risk}", style), alone=True) for name, style in new]

    def _of(self, step: StepShape) -> str:
        return f"sequence {step.sequence_index}, step {step.step_index}"

    def status(self, width: int, *more: str) -> Text:
        """Return how the call stands, in one line of at most `width` columns; what matters least goes first.

        Args:
            width: columns.
            more: what else there is to say, the most important first.
        """
        seen = self._seen.get(self.sequence, _SequenceSoFar())
        of = "" if self.limit is None else f"/{self.limit}"
        step = Text(f"step {seen.steps}{of}" if seen.steps else "no step yet")
        risk = [] if seen.risk is None else [Text(f"risk {seen.risk:.2f}", level_style(risk_level(seen.risk)))]
        entropy = [Text(f"entropy {self._entropies[-1]:.2f} bit")] if self._entropies else []
        room = width - columns(step.plain)
        first, room = _fitting([*risk, *entropy], room)
        shortest = _FEWEST_BARS + len(_GAP)
        kept = shortest if entropy and entropy[0] in first and room >= shortest else 0
        warnings, room = _fitting(self._warnings(seen, room - kept), room - kept)
        last, room = _fitting([*(Text(each) for each in more), *self._others()], room)
        bars = [self._bars(room + kept - len(_GAP))] if kept else []
        return cut(Text(_GAP).join([step, *first, *bars, *warnings, *last]), width)

    def _bars(self, room: int) -> Text:
        count = min(room, _BARS)
        return Text(sparkline(list(self._entropies)[-count:], count), "dim")

    def _warnings(self, seen: _SequenceSoFar, room: int) -> list[Text]:
        found = []
        for names, what, style in ((seen.flags, "flag", FLAG_STYLE), (seen.warnings, "warning", WARNING_STYLE)):
            if names:
                whole = ", ".join(map(_word, names))
                fits = len(_GAP) + columns(whole) <= room
                found.append(Text(whole if fits else f"{len(names)} {what}{'s' if len(names) > 1 else ''}", style))
                room -= len(_GAP) + columns(found[-1].plain)
        return found

    def _others(self) -> list[Text]:
        others = [seen for index, seen in self._seen.items() if index != self.sequence]
        if not others:
            return []
        risks = [seen.risk for seen in others if seen.risk is not None]
        worst = f", risk up to {max(risks):.2f}" if risks else ""
        return [Text(f"+{len(others)} sequence{'s' if len(others) > 1 else ''}{worst}")]


def _word(name: str) -> str:
    return one_line(for_people(name), _MOST_NAME)


def _fitting(parts: Sequence[Text], room: int) -> tuple[list[Text], int]:
    """Return those parts that there is room for, and the room that is left."""
    kept = []
    for part in parts:
        size = len(_GAP) + columns(part.plain)
        if size <= room:
            kept.append(part)
            room -= size
    return kept, room
