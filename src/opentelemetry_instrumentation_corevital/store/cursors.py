"""Orders of a list of runs, and places in one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final, NamedTuple, Self

from .._internal.clock import CLOCK_SKEW_NS
from .._internal.short_repr import call_like
from .._internal.values import fits_int64
from .store_error import StoreError
from .stored_run import RunList, RunSummary

_CURSOR: Final = re.compile(
    r"(-?[0-9]{1,20})\.(-?[0-9]{1,20})\.([0-9a-f]{32})\.([0-9]{1,20})\.([0-9a-f]{16})"
    r"(?:~([a-z-]{1,20})~([0-9.e-]{0,30}))?"
)


class RunOrder(StrEnum):
    """What comes first in a list of runs.

    Of runs with the same number the newest comes first, or the oldest where the lowest number does. Runs without the
    number come last.
    """

    NEWEST = "newest"
    OLDEST = "oldest"
    RISK = "risk"
    LOWEST_RISK = "lowest-risk"
    ANSWER = "answer"
    LOWEST_ANSWER = "lowest-answer"
    TOKENS = "tokens"
    FEWEST_TOKENS = "fewest-tokens"

    @property
    def number(self) -> str | None:
        """Return the field of a run that it goes by before the time; None: none."""
        return _NUMBERS.get(self)

    @property
    def ascending(self) -> bool:
        """Return whether the lowest comes first, or the oldest."""
        return self is RunOrder.OLDEST or self.startswith(("lowest-", "fewest-"))


_NUMBERS: Final = {
    RunOrder.RISK: "risk_score",
    RunOrder.LOWEST_RISK: "risk_score",
    RunOrder.ANSWER: "risk_answer",
    RunOrder.LOWEST_ANSWER: "risk_answer",
    RunOrder.TOKENS: "output_tokens",
    RunOrder.FEWEST_TOKENS: "output_tokens",
}


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list of runs: that of one of them. It stays valid when that run is deleted and others come.

    Lists have the newest first, or are in another order (`RunOrder`). Of runs that are equal in it and started at the
    same time the smaller trace id comes first, then the smaller sequence, then the smaller span id. Where the newest
    come first, runs that are dated ahead come behind all others: a clock was wrong, and they would be the newest until
    their time comes.
    """

    ahead_ns: int
    """What started later is dated ahead. Set when the list begins, so that no run changes its place meanwhile."""
    start_ns: int
    trace_id: str
    sequence_index: int
    span_id: str
    order: RunOrder = RunOrder.NEWEST
    value: float | None = None
    """The number that the order goes by; None: the run has none, or the order goes by time."""

    @classmethod
    def behind(cls, run: RunSummary, ahead_ns: int, order: RunOrder = RunOrder.NEWEST) -> Self:
        """Return the place of a run."""
        value = None if order.number is None else getattr(run, order.number)
        return cls(ahead_ns, run.start_ns, run.trace_id, run.sequence_index, run.span_id, order, value)

    @property
    def ahead(self) -> bool:
        """Return whether the list has come to the runs that are dated ahead."""
        return self.start_ns > self.ahead_ns

    def __str__(self) -> str:
        """Return it as text without blanks, for an address or a command line."""
        text = f"{self.ahead_ns}.{self.start_ns}.{self.trace_id}.{self.sequence_index}.{self.span_id}"
        if self.order is RunOrder.NEWEST:
            return text
        return f"{text}~{self.order}~{'' if self.value is None else repr(self.value)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place that a text names, as `str` made it.

        Raises:
            StoreError: if it names none.
        """
        found = _CURSOR.fullmatch(text)
        try:
            if found is None or not all(fits_int64(int(found[number])) for number in (1, 2, 4)):
                raise ValueError
            order = RunOrder(found[6] or RunOrder.NEWEST)
            value = _number(found[7], order)
        except ValueError:
            raise StoreError(f"{text[:80]!r}: is no place in a list of runs; begin with the first page.") from None
        return cls(int(found[1]), int(found[2]), found[3], int(found[4]), found[5], order, value)

    def of(self, order: RunOrder) -> Self:
        """Return it, where it is a place of a list in an order.

        Raises:
            StoreError: if it is one of another list.
        """
        if self.order is not order:
            raise StoreError(f"a place in a list by {self.order} is none in one by {order}; begin with the first page.")
        return self

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take what a pickle holds; one of an earlier version was of a list with the newest first."""
        rest = {"order": RunOrder.NEWEST}
        for each, value in zip_longest(fields(self), state):
            object.__setattr__(self, each.name, rest.get(each.name) if value is None else value)


def _number(text: str | None, order: RunOrder) -> float | None:
    """Return the number of a place.

    Raises:
        ValueError: if the order goes by none, or the text is none that it could be.
    """
    if not text:
        return None
    if order.number is None:
        raise ValueError
    number = int(text) if order.number == "output_tokens" else float(text)
    if not 0 <= number < 2**63:
        raise ValueError
    return number


def newest_that_counts(now_ns: int) -> int:
    """Return when a run may have started at the latest not to be dated ahead: `Cursor.ahead_ns` of a new list."""
    return now_ns + CLOCK_SKEW_NS


class RunPage(NamedTuple):
    """Some runs of a list, and where it goes on."""

    runs: RunList
    next: Cursor | None
    """None: these are the last."""
    previous: Cursor | None = None
    """Before which there are others: `before` of the page before; None: these are the first."""

    def __repr__(self) -> str:
        """Return how many runs it has, and where the list goes on."""
        return call_like(type(self).__name__, {"runs": len(self.runs), "next": self.next})


class Neighbours(NamedTuple):
    """The runs before and behind one in a list; None: it is the first, or the last."""

    previous: RunSummary | None
    next: RunSummary | None

    def __repr__(self) -> str:
        """Return whether there are any."""
        return call_like(type(self).__name__, {"previous": self.previous, "next": self.next})
