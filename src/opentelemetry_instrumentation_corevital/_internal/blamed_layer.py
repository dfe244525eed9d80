"""A layer that stands out in a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .short_repr import short_repr


@dataclass(frozen=True, slots=True)
class BlamedLayer:
    """A layer that stands out, and the numbers that say so."""

    layer: int
    reason: str
    severity: float
    """In (0, 1]: 1 where values were not finite."""
    evidence: Mapping[str, Any]
    __repr__ = short_repr

    def text(self) -> str:
        """Return reason and numbers as one line."""
        numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.evidence.items())
        return f"{self.reason}: {numbers}"
