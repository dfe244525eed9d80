"""Loops of the zoo's runs: the flag, and the one number of it that is chosen on the other models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from zoo.store import ZooRun

from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds

CLEAR_TOKENS: Final = 48
"""A loop is clear from so many tokens after its second copy's first one."""
TRIED: Final = range(DEFAULT.loop_recurring, DEFAULT.loop_window + 1)
"""What `unlike_recurring` could be."""
MOST_STRUCTURED: Final = 0.01
"""Share of the other models' structured texts that may be called a loop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the flag does with one of the limits that were tried."""

    found: int = 0
    loops: int = 0
    called: int = 0
    structured: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return the sums."""
        return Outcome(
            self.found + other.found,
            self.loops + other.loops,
            self.called + other.called,
            self.structured + other.structured,
        )

    @property
    def recall(self) -> float:
        """Return the share of clear loops that are found."""
        return self.found / max(1, self.loops)

    @property
    def alarms(self) -> float:
        """Return the share of structured texts that are called a loop."""
        return self.called / max(1, self.structured)


def is_clear(one: ZooRun) -> bool:
    """Tell whether a run that was cut off in a loop had been in it for long."""
    return one.onset is not None and one.steps - one.onset >= CLEAR_TOKENS


def is_plain(one: ZooRun) -> bool:
    """Tell whether nobody could call a healthy run a loop: neither its label nor a laxer one does."""
    return not one.repetitive and not one.loop and one.onset is None


def outcomes(loops: Sequence[Sequence[int]], structured: Sequence[Sequence[int]]) -> dict[int, Outcome]:
    """Return what the flag does for each limit that is tried, on texts in tokens that were cut off."""
    found = {}
    for limit in TRIED:
        thresholds = replace(DEFAULT, unlike_recurring=limit)
        hits, called = (sum(_looping(tokens, thresholds) for tokens in texts) for texts in (loops, structured))
        found[limit] = Outcome(hits, len(loops), called, len(structured))
    return found


def _looping(tokens: Iterable[int], thresholds: Thresholds) -> bool:
    last = RepetitionDetector(thresholds).last(tokens)
    return last is not None and last.loop


def chosen(others: Iterable[Mapping[int, Outcome]]) -> int:
    """Return the smallest limit with which few structured texts of these models are called a loop."""
    found = list(others)
    for limit in TRIED:
        if sum((each[limit] for each in found), Outcome()).alarms <= MOST_STRUCTURED:
            return limit
    return TRIED[-1]
