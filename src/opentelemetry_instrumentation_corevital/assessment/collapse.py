"""Attention collapse, found as the run goes on: constant time and state per attention sample."""

import math
from collections import deque
from typing import Any

from .thresholds import DEFAULT, Thresholds


class CollapseDetector:
    """Watches the fraction of collapsed heads: whether it is high on the whole, or above that of the first samples."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds
        self._size = thresholds.collapse_steps
        self._recent: deque[float] = deque(maxlen=self._size)
        self._samples = 0
        self._mean = 0.0
        self._before = 0.0
        self._now = 0.0
        self._rise: dict[str, Any] = {}
        self.collapsed = False
        """Whether attention has collapsed in the samples so far."""
        self.rises = False
        """Whether the fraction has risen at the last sample so far that it warns."""

    def update(self, step: int, fraction: float) -> None:
        """Take a step's fraction of collapsed heads over all layers; NaN where it was not measured."""
        if not math.isfinite(fraction):
            return
        self._samples += 1
        self._mean += (fraction - self._mean) / self._samples
        self._recent.append(fraction)
        if self._samples < self._size:
            return
        recent = self._now = math.fsum(self._recent) / self._size
        if self._samples == self._size:
            self._before = recent
        threshold = self._before + self._thresholds.collapse_rise
        if recent > threshold and not self._rise:
            self._rise = {
                "step": step,
                "rate": round(recent, 4),
                "before": round(self._before, 4),
                "threshold": round(threshold, 4),
            }
        self.rises = recent > self._before + self._thresholds.collapse_warning
        self.collapsed = self._mean > self._thresholds.collapse_rate or bool(self._rise)

    @property
    def judged(self) -> bool:
        """Whether there were enough samples to judge."""
        return self._samples >= self._size

    def rising(self) -> dict[str, float]:
        """Return the numbers of the last sample's rise."""
        return {"value": round(self._now, 4), "threshold": round(self._before + self._thresholds.collapse_warning, 4)}

    def evidence(self) -> dict[str, Any]:
        """Return the numbers of a collapse in the samples so far; empty where there is none."""
        if self._mean > self._thresholds.collapse_rate and self.judged:
            return {"rate": round(self._mean, 4), "threshold": self._thresholds.collapse_rate}
        return dict(self._rise)
