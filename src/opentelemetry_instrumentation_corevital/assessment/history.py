"""What a run's own past says a number should be, from bounded state."""

import math
from collections import deque
from collections.abc import Sequence


class Window:
    """Mean over the last steps, and mean and deviation of those before them."""

    __slots__ = ("_recent", "_size", "_squares", "base_count", "base_mean", "mean")

    def __init__(self, size: int) -> None:
        self._size = size
        self._recent: deque[float] = deque(maxlen=size)
        self.mean = math.nan
        """Of the last `size` values; NaN until there are so many."""
        self.base_count = 0
        self.base_mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        """Take the next value; one that is not finite does not count."""
        if not math.isfinite(value):
            return
        recent = self._recent
        if len(recent) == self._size:  # Welford's update with the value that leaves the window
            old = recent[0]
            self.base_count += 1
            delta = old - self.base_mean
            self.base_mean += delta / self.base_count
            self._squares += delta * (old - self.base_mean)
            recent.append(value)
        else:
            recent.append(value)
            if len(recent) < self._size:
                return
        self.mean = math.fsum(recent) / self._size

    @property
    def base_deviation(self) -> float:
        """Return the population standard deviation of the values before the window."""
        return math.sqrt(self._squares / self.base_count) if self.base_count else 0.0


class NormHistory:
    """The geometric mean of each layer's norm over a run's steps, and whether a step's norms are far from it."""

    def __init__(self, ratio: float, steps: int) -> None:
        self._limit = math.log(ratio)
        self._steps = steps
        self._means: list[float] = []
        self._count = 0

    def add(self, log_norms: Sequence[float]) -> tuple[int, float] | None:
        """Take a step's natural logarithms of norms, one for each layer.

        Returns:
            the index of the layer whose norm is furthest from its mean over the steps before, and how many times it is
            that mean, if one is further than the ratio and enough steps were seen; else None.
        """
        self._count += 1
        if not self._means:
            self._means = list(log_norms)
        means, weight = self._means, 1.0 / self._count
        if math.dist(log_norms, means) <= self._limit:  # no layer is further, and all are finite: most steps
            self._means = [mean + (value - mean) * weight for mean, value in zip(means, log_norms, strict=True)]
            return None
        # A layer without a mean so far gets its first; what is not finite leaves its mean where it was.
        means = [mean if math.isfinite(mean) else value for mean, value in zip(means, log_norms, strict=True)]
        off = [value - mean for mean, value in zip(means, log_norms, strict=True)]
        off = [each if math.isfinite(each) else 0.0 for each in off]
        self._means = [mean + each * weight for mean, each in zip(means, off, strict=True)]
        worst = max(range(len(off)), key=lambda index: abs(off[index]))
        return (worst, math.exp(off[worst])) if abs(off[worst]) > self._limit and self._count > self._steps else None
