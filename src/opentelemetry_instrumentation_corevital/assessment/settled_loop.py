"""Whether a loop has settled: a policy acts on it only then, since many a loop is left again after two or three copies.

A loop (`repetition.py`) has settled when

- all its tokens recur, at least the last ones, and there are `settled_copies` of it;
- going round once more is likely: the surprisals of its last copy sum up to at most `settled_bits`, so that the model
  gave that copy a chance of at least 2^-`settled_bits`;
- it is long enough to be no request that was carried out: a period of at most `short_period` tokens spans
  `short_tokens`, and a loop that quotes the prompt `quoted_tokens` ("say it ten times"). It quotes the prompt where a
  fraction of at least `quoted` of its copy's groups of three tokens stand there.

Chosen on the half `fit` of the run set; docs/results/interventions.md has what comes of it on the other half.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from math import isfinite

from .repetition import Repetition
from .thresholds import DEFAULT, Thresholds

_GROUP = 3


class SettledLoop:
    """Judges the loop of one sequence as tokens arrive; state and time per token are bounded.

    Args:
        thresholds: what it compares with.
        prompt: returns the prompt's tokens; asked at the first loop.
    """

    def __init__(self, thresholds: Thresholds = DEFAULT, prompt: Callable[[], Sequence[int]] | None = None) -> None:
        self._limits = thresholds
        self._prompt = prompt
        self._groups: frozenset[tuple[int, ...]] | None = None
        self._last: deque[tuple[int, float]] = deque(maxlen=thresholds.max_period + _GROUP - 1)

    def update(self, step: int, token: int, surprisal: float, repetition: Repetition | None) -> bool:
        """Take the next token, its surprisal in bit (NaN: not measured) and the repetition that goes on at it."""
        self._last.append((token, surprisal if isfinite(surprisal) else 0.0))
        limits = self._limits
        if repetition is None or not repetition.loop or not repetition.unbroken:
            return False
        period, spanned = repetition.period, step - repetition.start_step + 1
        if repetition.copies < limits.settled_copies:
            return False
        if sum(bits for _, bits in self._newest(period)) > limits.settled_bits:
            return False
        if period <= limits.short_period and spanned < limits.short_tokens:
            return False
        return spanned >= limits.quoted_tokens or self._quoted(period) < limits.quoted

    def _newest(self, count: int) -> list[tuple[int, float]]:
        return list(islice(self._last, max(0, len(self._last) - count), None))

    def _quoted(self, period: int) -> float:
        """Return the fraction of the last copy's groups that stand in the prompt."""
        if self._groups is None:
            self._groups = frozenset(_groups([] if self._prompt is None else self._prompt()))
        if not self._groups:
            return 0.0
        copy = _groups([token for token, _ in self._newest(period + _GROUP - 1)])
        return sum(group in self._groups for group in copy) / max(1, len(copy))


def _groups(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(tokens[at : at + _GROUP]) for at in range(len(tokens) - _GROUP + 1)]
