"""Repetition in a token stream, found online: bounded state, constant time per token, no text.

*Exactly*: a stream repeats with period p as long as each token equals the one p before it. For every period up to
`max_period` the detector counts how long that has been so without a break. With r such tokens, r + p tokens are
r/p + 1 copies.

*Nearly*: real loops change a word or a line break between copies, which breaks every exact count. So the detector
also knows, for each token, whether the `near_gram` tokens that end with it stood together up to `max_period` tokens
before. A stretch in which that holds for `near_share` of the tokens, with no more than `near_gap` others in a row,
repeats; its period is the most frequent distance.

Two levels come out of it: the stream is in a *second copy* (`repetition_tokens` matched exactly), and it *loops*
(`loop_copies` copies that span `loop_tokens` exactly, or `near_loop_tokens` nearly).
"""

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from .thresholds import DEFAULT, Thresholds


@dataclass(frozen=True, slots=True)
class Repetition:
    """A repetition that is going on at a step."""

    period: int
    """Tokens of one copy; in a near repetition the most frequent distance between copies."""
    copies: float
    """Copies so far, the last one counted by its share."""
    start_step: int
    """Step of the first copy's first token."""
    onset_step: int
    """Step of the second copy's first token, where the repetition begins."""
    loop: bool
    """Whether it is long enough to be a loop."""
    exact: bool = True
    """Whether all copies are alike."""

    def evidence(self) -> dict[str, float | int | bool]:
        """Return the numbers that a verdict shows."""
        return {
            "period": self.period,
            "copies": round(self.copies, 2),
            "start_step": self.start_step,
            "onset_step": self.onset_step,
            "exact": self.exact,
        }


class RepetitionDetector:
    """Finds repetition, exact or near, as tokens arrive."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._exact = ExactRepetition(thresholds)
        self._near = NearRepetition(thresholds)

    def update(self, token: int) -> Repetition | None:
        """Take the next token; return the repetition that is going on: an exact loop, a near one, a second copy."""
        exact, near = self._exact.update(token), self._near.update(token)
        return near if near is not None and not (exact is not None and exact.loop) else exact


class ExactRepetition:
    """Copies that are alike, token by token."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds
        self._periods = np.arange(1, thresholds.max_period + 1)
        self._recent = np.full(thresholds.max_period, -1, np.int64)  # the newest first: entry p-1 is p tokens back
        self._matched = np.zeros(thresholds.max_period, np.int64)
        self._step = -1

    def update(self, token: int) -> Repetition | None:
        """Take the next token; return the repetition that is going on, or None.

        Of several periods the shortest that loops is told, else the one that has matched longest.
        """
        self._step += 1
        matched = self._matched
        matched += 1
        matched *= self._recent == token
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = token
        longest = int(matched.argmax())
        if matched[longest] < self._thresholds.repetition_tokens:
            return None
        looping = (matched >= (self._thresholds.loop_copies - 1) * self._periods) & (
            matched + self._periods >= self._thresholds.loop_tokens
        )
        loop = bool(looping.any())
        index = int(looping.argmax()) if loop else longest
        period, run = index + 1, int(matched[index])
        return Repetition(
            period=period,
            copies=run / period + 1,
            start_step=self._step - run - period + 1,
            onset_step=self._step - run + 1,
            loop=loop,
        )


class NearRepetition:
    """Copies that differ here and there. Told only once they are a loop."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds
        self._step = -1
        self._gram: deque[int] = deque(maxlen=thresholds.near_gram)
        self._last: dict[tuple[int, ...], int] = {}  # where each gram of the last `max_period` steps ended
        self._grams: deque[tuple[int, ...]] = deque()
        self._distances: deque[int] = deque(maxlen=thresholds.max_period)
        self._begin: int | None = None  # of the stretch that goes on
        self._repeated = 0
        self._gap = 0

    def update(self, token: int) -> Repetition | None:
        """Take the next token; return the near loop that is going on, or None."""
        self._step += 1
        distance = self._distance(token)
        if distance is None:
            self._gap += 1
            if self._gap > self._thresholds.near_gap:
                self._begin = None
        else:
            self._gap = 0
            if self._begin is None:
                self._begin, self._repeated = self._step, 0
                self._distances.clear()
            self._repeated += 1
            self._distances.append(distance)
        return None if self._begin is None else self._loop(self._begin)

    def _distance(self, token: int) -> int | None:
        """Return how far back the gram that ends with this token last stood, if it did."""
        self._gram.append(token)
        if len(self._gram) < self._thresholds.near_gram:
            return None
        gram = tuple(self._gram)
        before = self._last.get(gram)
        self._last[gram] = self._step
        self._grams.append(gram)
        if len(self._grams) > self._thresholds.max_period:
            oldest = self._grams.popleft()
            if self._last.get(oldest) == self._step - self._thresholds.max_period:
                del self._last[oldest]
        return None if before is None else self._step - before

    def _loop(self, begin: int) -> Repetition | None:
        limits = self._thresholds
        length = self._step - self._gap - begin + 1  # to the last repeated token
        if self._repeated < limits.near_share * length:
            return None
        period = Counter(self._distances).most_common(1)[0][0]
        onset = begin - limits.near_gram + 1
        spanned = length + limits.near_gram - 1
        if spanned + period < limits.near_loop_tokens or spanned < (limits.loop_copies - 1) * period:
            return None
        return Repetition(
            period=period,
            copies=spanned / period + 1,
            start_step=max(0, onset - period),
            onset_step=onset,
            loop=True,
            exact=False,
        )
