"""Lists of runs as SQL: parts that follow on one another, each in one order, and places in them."""

from dataclasses import dataclass
from typing import Any, Final

from .cursors import Cursor, RunOrder
from .filters import ANY_RUN, RunFilter
from .sqlite_filters import all_of, conditions_of, filters_index, index

_IDS: Final = "(trace_id, sequence_index, span_id)"
_KNOWN: Final = {
    "risk_score": ("risk_score >= 0", "risk_score <= 1"),
    "output_tokens": ("output_tokens >= 0", f"output_tokens <= {2**63 - 1}"),
}
"""Column -> the bounds of a number that it can be: a damaged file may have others."""
_WHOLE: Final = "typeof(output_tokens) = 'integer'"
_INDEXES: Final = {"risk_score": "runs_risk", "output_tokens": "runs_tokens"}


@dataclass(frozen=True, slots=True)
class ListPart:
    """A part of a list: the runs that meet a condition, in the order of some columns, then of the ids, which rise."""

    keys: tuple[str, ...]
    """Columns."""
    falls: bool
    """Whether the highest come first."""
    condition: str = ""
    bounds: tuple[str, str] | None = None
    """Conditions on the first column: that it is not too low, and not too high."""
    oldest_ns: int | None = None
    newest_ns: int | None = None
    index: str | None = None
    """The index that has its order, for a list of all runs."""

    def statement(
        self, wanted: RunFilter, place: Cursor | None, *, backwards: bool
    ) -> tuple[str, str, tuple[Any, ...]]:
        """Return a statement for the ids of its runs, without a limit; the order; and the statement's values.

        Args:
            wanted: which runs.
            place: only runs behind it, or before it; None: all.
            backwards: whether the last ones come first.
        """
        falls = self.falls is not backwards
        oldest, newest, beyond, more = self.oldest_ns, self.newest_ns, list[str](), list[Any]()
        if place is not None:
            beyond, more = _beyond(self.keys, place, falls=falls, backwards=backwards)
            if self.keys == ("start_ns",) and falls:
                newest = place.start_ns if newest is None else min(newest, place.start_ns)
            elif self.keys == ("start_ns",):
                oldest = place.start_ns if oldest is None else max(oldest, place.start_ns)
        conditions, values = conditions_of(wanted, oldest_ns=oldest, newest_ns=newest)
        bounds = list(self.bounds or ())
        if bounds and place is not None:
            del bounds[falls]  # the place's own is narrower, and of two at one end the planner takes any
        clause = all_of([*conditions, *([self.condition] if self.condition else ()), *bounds, *beyond])
        terms = [f"{key} DESC" if falls else key for key in self.keys]
        terms += [f"{key} DESC" if backwards else key for key in ("trace_id", "sequence_index", "span_id")]
        keys = f"SELECT trace_id, span_id FROM runs {self._hint(wanted)} {clause}"
        return keys, f"ORDER BY {', '.join(terms)}", (*values, *more)

    def _hint(self, wanted: RunFilter) -> str:
        if self.keys == ("start_ns",):
            return index(wanted) if not self.condition else filters_index(wanted)
        # One condition more, and every run has to be looked at: then from the index that has all of them.
        return f"INDEXED BY {self.index}" if wanted == ANY_RUN and self.index else filters_index(wanted)


def parts(order: RunOrder, ahead_ns: int) -> list[ListPart]:
    """Return the parts of a list, in their order."""
    column, falls = order.number, not order.ascending
    if order is RunOrder.OLDEST:
        return [ListPart(("start_ns",), falls)]
    if column is None:
        return [
            ListPart(("start_ns",), falls, newest_ns=ahead_ns),
            ListPart(("start_ns",), falls, oldest_ns=ahead_ns + 1),
        ]
    bounds, whole = _KNOWN[column], _WHOLE if column == "output_tokens" else ""
    known = " AND ".join(filter(None, (*bounds, whole)))
    return [
        ListPart((column, "start_ns"), falls, whole, bounds, index=_INDEXES[column]),
        ListPart(("start_ns",), falls, f"({column} IS NULL OR NOT ({known}))"),
    ]


def part_of(place: Cursor) -> int:
    """Return the number of the part that a place is in."""
    if place.order is RunOrder.NEWEST:
        return int(place.ahead)
    return int(place.order.number is not None and place.value is None)


def _beyond(keys: tuple[str, ...], place: Cursor, *, falls: bool, backwards: bool) -> tuple[list[str], list[Any]]:
    """Return the conditions of what comes behind a place, or before it, and their values.

    The bound of a first key that is the time is not among them: `where` has that.
    """
    names = f"({', '.join(keys)})" if len(keys) > 1 else keys[0]
    marks = f"({', '.join('?' * len(keys))})" if len(keys) > 1 else "?"
    of_place = [place.start_ns if key == "start_ns" else place.value for key in keys]
    ids = [place.trace_id, place.sequence_index, place.span_id]
    sign = "<" if falls else ">"
    further = f"({names} {sign} {marks} OR {_IDS} {'<' if backwards else '>'} (?, ?, ?))"
    if keys == ("start_ns",):
        return [further], [*of_place, *ids]
    return [f"{names} {sign}= {marks}", further], [*of_place, *of_place, *ids]
