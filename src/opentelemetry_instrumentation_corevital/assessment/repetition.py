"""Repetition in a token stream, found online: bounded state, constant time per token, no text.

A token *recurs* when the n-gram of `gram` tokens that it ends stood before, at most `max_period` tokens ago. The
detector counts how often an n-gram stood: once, and the token that ends it is in a second copy; twice, and it is in a
third. An n-gram that stays away for longer than `max_period` begins anew. Real loops change a word, a number or a line
break between copies. That breaks every comparison with one fixed lag, but only a few of the n-grams.

- *Second copy*: of the last `repetition_window` tokens `repetition_recurring` recur.
- *Loop*: of the last `loop_window` tokens `loop_recurring` are in a third or later copy, and all copies together span
  `loop_tokens`.

A repetition begins with the first token that recurs after `repetition_window` that did not. Its period is the distance
to the last copy that holds the majority (Boyer and Moore's vote: one candidate, one counter).
"""

from collections.abc import Iterable
from typing import NamedTuple

from .thresholds import DEFAULT, Thresholds

_TOKEN_BITS = 24
_NEVER = (0, 0)


class Repetition(NamedTuple):
    """A repetition that is going on at a step."""

    period: int
    """Tokens of one copy; where copies differ in length the most frequent one."""
    copies: float
    """Copies so far, the last one counted by its fraction."""
    start_step: int
    """Step of the first copy's first token."""
    onset_step: int
    """Step of the second copy's first token, where the repetition begins."""
    loop: bool
    """Whether it is long enough to be a loop."""
    exact: bool = True
    """Whether all tokens of it recur, or at least all of the last `loop_window`: copies that are alike."""

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
        self._limits = thresholds
        self._step = -1
        self._ngram = 0
        self._ngram_bits = (1 << _TOKEN_BITS * thresholds.gram) - 1
        self._seen: dict[int, tuple[int, int]] = {}  # n-gram -> where it last ended, how often it has stood
        self._ngrams = [-1] * thresholds.max_period  # of the last steps, a ring
        self._window_bits = (1 << thresholds.loop_window) - 1
        self._short_bits = (1 << thresholds.repetition_window) - 1
        self._recurring = self._third = 0  # the last tokens as bits, the newest lowest
        self._begin = self._last = self._count = 0  # of the stretch
        self._period = self._votes = 0

    def update(self, token: int) -> Repetition | None:
        """Take the next token; return the repetition that is going on."""
        return self._told() if self._goes_on(token) else None

    def last(self, tokens: Iterable[int]) -> Repetition | None:
        """Take the next tokens; return the repetition that is going on at the last of them."""
        goes_on = False
        for token in tokens:
            goes_on = self._goes_on(token)
        return self._told() if goes_on else None

    def _goes_on(self, token: int) -> bool:
        """Take the next token; tell whether a repetition is going on."""
        self._step = step = self._step + 1
        limits = self._limits
        ngram = self._ngram = (self._ngram << _TOKEN_BITS | token) & self._ngram_bits
        if step < limits.gram - 1:
            return False
        before, stood = self._seen.get(ngram, _NEVER)
        self._remember(ngram, stood + 1)
        if stood:
            self._recurs(step, step - before)
        self._recurring = (self._recurring << 1 | (stood > 0)) & self._window_bits
        self._third = (self._third << 1 | (stood > 1)) & self._window_bits
        return (self._recurring & self._short_bits).bit_count() >= limits.repetition_recurring

    @property
    def recurring(self) -> float:
        """Return the fraction of the last `loop_window` tokens that recur."""
        return self._recurring.bit_count() / self._limits.loop_window

    def _remember(self, ngram: int, stood: int) -> None:
        """Keep an n-gram for `max_period` steps."""
        step, reach = self._step, self._limits.max_period
        oldest = self._ngrams[step % reach]
        if self._seen.get(oldest, _NEVER)[0] == step - reach:  # else it has come again since
            self._seen.pop(oldest, None)
        self._ngrams[step % reach] = ngram
        self._seen[ngram] = (step, stood)

    def _recurs(self, step: int, distance: int) -> None:
        """Take note of a token that recurs."""
        if not self._recurring & self._short_bits:
            self._begin, self._count, self._votes = step, 0, 0
        self._last = step
        self._count += 1
        if distance == self._period:
            self._votes = min(self._votes + 1, self._limits.max_period)
        elif self._votes:
            self._votes -= 1
        else:
            self._period, self._votes = distance, 1

    def _told(self) -> Repetition:
        limits, period = self._limits, self._period
        onset = self._begin - limits.gram + 1
        spanned = self._last - onset + 1
        return Repetition(
            period=period,
            copies=spanned / period + 1,
            start_step=max(0, onset - period),
            onset_step=onset,
            loop=self._third.bit_count() >= limits.loop_recurring and spanned + period >= limits.loop_tokens,
            exact=self._count == self._last - self._begin + 1 or self._recurring == self._window_bits,
        )
