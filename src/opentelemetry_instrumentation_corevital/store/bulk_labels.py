"""Many labels at once: what is given, and what came of it."""

from collections import Counter
from dataclasses import dataclass
from typing import Self

from .._internal.short_repr import short_repr
from .labels import Label
from .stored_run import RunSummary


@dataclass(frozen=True, slots=True)
class NewLabel:
    """What somebody says of a run."""

    run: RunSummary
    outcome: str
    """A word (`check_outcome`)."""
    note: str | None = None
    """None: nothing is said beside it; a note that the run has with the same outcome stays."""

    __repr__ = short_repr

    def differs(self, before: Label | None) -> bool:
        """Return whether a run that had a label, or none, has another one afterwards."""
        return before is None or self.outcome != before.outcome or self.note not in (None, before.note)


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What became of so many labels."""

    new: int
    """Runs that had none."""
    changed: int
    """Runs that had another one."""
    same: int
    """Runs that had just this one: nothing was written."""

    @classmethod
    def of(cls, pairs: list[tuple[NewLabel, Label | None]]) -> Self:
        """Count labels, each with the one that its run had before."""
        kinds = Counter("new" if old is None else "changed" if new.differs(old) else "same" for new, old in pairs)
        return cls(kinds["new"], kinds["changed"], kinds["same"])
