"""Attention collapse, found as the run goes on: constant time and state per look at attention."""

import math
from collections import deque
from typing import Any

from .thresholds import DEFAULT, Thresholds


class CollapseDetector:
    """Watches the share of collapsed heads: whether it is high on the whole, or has risen over the first looks'."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds
        self._size = thresholds.collapse_steps
        self._recent: deque[float] = deque(maxlen=self._size)
        self._looks = 0
        self._mean = 0.0
        self._before = 0.0
        self._now = 0.0
        self._rise: dict[str, Any] = {}

    def update(self, step: int, share: float) -> None:
        """Take a step's share of collapsed heads over all layers; NaN where it could not be told."""
        if not math.isfinite(share):
            return
        self._looks += 1
        self._mean += (share - self._mean) / self._looks
        self._recent.append(share)
        if self._looks < self._size:
            return
        recent = self._now = math.fsum(self._recent) / self._size
        if self._looks == self._size:
            self._before = recent
        threshold = self._before + self._thresholds.collapse_rise
        if recent > threshold and not self._rise:
            self._rise = {
                "step": step,
                "rate": round(recent, 4),
                "before": round(self._before, 4),
                "threshold": round(threshold, 4),
            }

    @property
    def judged(self) -> bool:
        """Whether there were enough looks to tell."""
        return self._looks >= self._size

    def rising(self) -> dict[str, float]:
        """Return the numbers of a rise that warns; empty where there is none."""
        threshold = self._before + self._thresholds.collapse_warning
        return {"value": round(self._now, 4), "threshold": round(threshold, 4)} if self._now > threshold else {}

    @property
    def _high(self) -> bool:
        return self._mean > self._thresholds.collapse_rate and self.judged

    @property
    def collapsed(self) -> bool:
        """Whether attention has collapsed in what was seen so far."""
        return bool(self._rise) or self._high

    def evidence(self) -> dict[str, Any]:
        """Return the numbers of a collapse in what was seen so far; empty where there is none."""
        if self._high:
            return {"rate": round(self._mean, 4), "threshold": self._thresholds.collapse_rate}
        return dict(self._rise)
