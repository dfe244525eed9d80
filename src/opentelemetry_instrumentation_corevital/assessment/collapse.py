"""Collapsing attention, found as the run goes on: constant time and state per attention sample."""

import math
from collections import deque

from .thresholds import DEFAULT, Thresholds


class CollapseDetector:
    """Watches whether the fraction of collapsed heads rises above that of the run's first samples."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._warning = thresholds.collapse_warning
        self._size = thresholds.collapse_steps
        self._recent: deque[float] = deque(maxlen=self._size)
        self._before: float | None = None
        self._now = 0.0
        self.rises = False
        """Whether it is at the last sample so far above the first ones that this is warned of."""

    def update(self, fraction: float) -> None:
        """Take a step's fraction of collapsed heads over all layers; NaN where it was not measured."""
        if not math.isfinite(fraction):
            return
        self._recent.append(fraction)
        if len(self._recent) < self._size:
            return
        self._now = math.fsum(self._recent) / self._size
        if self._before is None:
            self._before = self._now
        self.rises = self._now > self._before + self._warning

    def rising(self) -> dict[str, float]:
        """Return the numbers of the last sample's rise."""
        return {"value": round(self._now, 4), "threshold": round((self._before or 0.0) + self._warning, 4)}
