"""What a run's own past says a number should be, from bounded state."""

import math
from collections import deque
from collections.abc import Sequence


class Window:
    """Mean over the last steps, and mean and deviation of those before them.

    Args:
        size: number of the last steps.
        low, high: what is usual, for `outside`.
    """

    __slots__ = ("_bits", "_high", "_low", "_mask", "_recent", "_size", "_squares", "base_count", "base_mean", "mean")

    def __init__(self, size: int, low: float = -math.inf, high: float = math.inf) -> None:
        self._size = size
        self._recent: deque[float] = deque(maxlen=size)
        self._low, self._high = low, high
        self._bits, self._mask = 0, (1 << size) - 1  # the last values, the newest lowest: 1 where one is outside
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
        self._bits = (self._bits << 1 | (value < self._low or value > self._high)) & self._mask
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
    def often_outside(self) -> bool:
        """Return whether at least half of the last values are outside of what is usual: else their median is not."""
        return 2 * self._bits.bit_count() >= self._size

    @property
    def median(self) -> float:
        """Return the median of the last `size` values; NaN until there are so many."""
        size = self._size
        if len(self._recent) < size:
            return math.nan
        ordered = sorted(self._recent)
        return (ordered[(size - 1) // 2] + ordered[size // 2]) / 2

    @property
    def base_deviation(self) -> float:
        """Return the population standard deviation of the values before the window."""
        return math.sqrt(self._squares / self.base_count) if self.base_count else 0.0


class NormHistory:
    """The geometric mean of each layer's norm over a run's steps, and whether a step's norms are far from it.

    Args:
        ratio: times, or one over so many times, its mean that a norm has to be ...
        steps: ... after so many steps ...
        deviations: ... and so many standard deviations of its logarithm away from it. Then what is as far out counts
            neither for the mean nor for the deviation, which would follow a norm that stays there.
    """

    def __init__(self, ratio: float, steps: int, deviations: float = 0.0) -> None:
        self._limit = math.log(ratio)
        self._steps = steps
        self._per_variance = deviations * deviations
        self._means: list[float] = []
        self._squares: list[float] = []
        self._small_squares = 0.0  # of all layers together, of steps at which none was far
        self._count = 0

    def add(self, log_norms: Sequence[float]) -> tuple[int, float] | None:
        """Take a step's natural logarithms of norms, one for each layer.

        Returns:
            the index of the layer whose norm is furthest from its mean over the steps before, and how many times it is
            that mean, if one is far from it and enough steps were seen; else None.
        """
        self._count += 1
        if not self._means:
            self._means, self._squares = list(log_norms), [0.0] * len(log_norms)
        means, weight = self._means, 1.0 / self._count
        if (
            distance := math.dist(log_norms, means)
        ) <= self._limit:  # no layer is further, and all are finite: most steps
            self._means = [mean + (value - mean) * weight for mean, value in zip(means, log_norms, strict=True)]
            self._small_squares += distance * distance
            return None
        # A layer without a mean so far gets its first; what is not finite leaves its mean where it was.
        means = [mean if math.isfinite(mean) else value for mean, value in zip(means, log_norms, strict=True)]
        off = [value - mean for mean, value in zip(means, log_norms, strict=True)]
        off = [each if math.isfinite(each) else 0.0 for each in off]
        least, per = self._limit * self._limit, self._per_variance / self._count
        small = self._small_squares / len(off)
        far = [
            each * each > max(least, per * (square + small)) for each, square in zip(off, self._squares, strict=True)
        ]
        kept = [0.0 if out else each for each, out in zip(off, far, strict=True)] if self._per_variance else off
        self._means = [mean + each * weight for mean, each in zip(means, kept, strict=True)]
        self._squares = [square + each * each for square, each in zip(self._squares, kept, strict=True)]
        worst = max(range(len(off)), key=lambda index: abs(off[index]) if far[index] else 0.0)
        return (worst, math.exp(off[worst])) if far[worst] and self._count > self._steps else None
