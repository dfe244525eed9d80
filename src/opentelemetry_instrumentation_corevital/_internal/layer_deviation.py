"""How far out a layer is: part of `run.py`, where users find it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deviation:
    """A number of a layer that is further out than healthy runs go."""

    layer: int
    step: int
    """Where it began."""
    signal: str
    value: float
    """The furthest out from there on, of a step, or a window's median, or the change from one window to the next."""
    usual: float
    """Median over healthy runs."""
    excess: float
    """Distance from the median over that of the 0.1 % quantile."""
    threshold: float

    @property
    def strength(self) -> float:
        """Return the excess in units of its threshold: above 1."""
        return self.excess / self.threshold

    def evidence(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "step": self.step,
            "signal": self.signal,
            "value": float(f"{self.value:.4g}"),
            "usual": float(f"{self.usual:.4g}"),
            "excess": round(min(self.excess, 1e6), 2),
            "threshold": round(self.threshold, 2),
        }
