"""Collapsing attention, found as the run goes on: constant time and state per attention sample."""

import math
from collections import deque

from .history import Window
from .thresholds import DEFAULT, Thresholds
from .usual import BEYOND_STEPS


class CollapseDetector:
    """Watches whether the fraction of collapsed heads rises above that of the run's earlier samples, and stays there.

    In a small model one head is a large fraction, so a rise also has to be beyond what the run itself varies by.
    Windows in a row are held against what was before the first of them, which they would change themselves.
    """

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._least = thresholds.collapse_warning
        self._deviations = thresholds.collapse_deviations
        self._size = thresholds.collapse_steps
        self._window = Window(self._size)
        self._means: deque[float] = deque(maxlen=BEYOND_STEPS)
        self._limits: deque[float] = deque(maxlen=BEYOND_STEPS)
        self.rises = False
        """Whether it has been at the last samples so far above the earlier ones that this is warned of."""

    def update(self, fraction: float) -> None:
        """Take a step's fraction of collapsed heads over all layers; NaN where it was not measured."""
        if not math.isfinite(fraction):
            return
        window = self._window
        window.add(fraction)
        if window.base_count < self._size:
            return
        self._means.append(window.mean)
        self._limits.append(window.base_mean + max(self._least, self._deviations * window.base_deviation))
        self.rises = len(self._means) == BEYOND_STEPS and min(self._means) > self._limits[0]

    def rising(self) -> dict[str, float]:
        """Return the numbers of the last sample's rise."""
        return {"value": round(self._means[-1], 4), "threshold": round(self._limits[0], 4)}
