"""How many runs there are of each value that a filter can take."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .._internal.short_repr import call_like
from .filters import FLAGS, RunFilter
from .stored_run import RunSummary

FacetValues = tuple[Any, ...]

FACETS: Final[Mapping[str, Callable[[RunSummary], FacetValues]]] = {
    "model": lambda run: (run.model,),
    "level": lambda run: (run.risk_level,),
    "flag": lambda run: run.flags,
    "warning": lambda run: tuple(dict.fromkeys(run.warnings or ())),
    "label": lambda run: (run.label,),
    "stop_reason": lambda run: (run.stop_reason,),
    "intervened": lambda run: (run.intervention is not None,),
    "service": lambda run: (run.service_name or None,),
    "experiment": lambda run: (run.experiment,),
}
"""Condition of `RunFilter` -> the values of a run that it can be; None: the run has none."""


@dataclass(frozen=True, slots=True)
class RunCounts:
    """How many runs meet conditions, and how many would if one of them were another.

    Attributes:
        total: runs that meet all of them.
        by: condition -> value -> runs that meet all others and have this value; the most frequent first. None: runs
            without one.
    """

    total: int
    by: Mapping[str, Mapping[Any, int]]

    def __repr__(self) -> str:
        """Return the total, and how many values each condition has."""
        return call_like(type(self).__name__, {"total": self.total, **{name: len(v) for name, v in self.by.items()}})


def without_facets(wanted: RunFilter) -> RunFilter:
    """Return what is left of conditions without those that are counted by value."""
    return replace(wanted, **dict.fromkeys(FACETS))


class Counting:
    """Counts runs, or groups of alike ones, by value.

    Args:
        wanted: the conditions; those that are not in `FACETS` are taken to be met.
    """

    def __init__(self, wanted: RunFilter) -> None:
        self._given = {name: getattr(wanted, name) for name in FACETS if getattr(wanted, name) is not None}
        self._total = 0
        self._by: dict[str, Counter[Any]] = {name: Counter() for name in FACETS}

    def add(self, values: Mapping[str, FacetValues], runs: int = 1) -> None:
        """Count runs that have values, those of each condition."""
        unmet = [name for name, wanted in self._given.items() if not _meets(name, wanted, values[name])]
        if len(unmet) > 1:
            return
        if not unmet:
            self._total += runs
        for name in unmet or FACETS:
            for value in values[name]:
                self._by[name][value] += runs

    def counts(self) -> RunCounts:
        """Return what was counted."""
        by = {name: dict(sorted(counter.items(), key=_place)) for name, counter in self._by.items()}
        return RunCounts(self._total, by)


def counted(runs: Iterable[RunSummary], wanted: RunFilter) -> RunCounts:
    """Count runs, which meet all conditions that are not in `FACETS`, one by one."""
    counting = Counting(wanted)
    for run in runs:
        counting.add({name: values(run) for name, values in FACETS.items()})
    return counting.counts()


def _meets(name: str, wanted: Any, values: FacetValues) -> bool:
    if name == "label" and wanted in ("any", "none"):
        return (values[0] is None) is (wanted == "none")
    return wanted in values


def _place(item: tuple[Any, int]) -> tuple[int, bool, int, str]:
    value, count = item
    order = FLAGS.index(value) if value in FLAGS else 0
    return -count, value is None, order, str(value)
