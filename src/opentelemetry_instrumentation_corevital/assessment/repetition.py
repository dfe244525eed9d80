"""Repetition in a token stream, found online: bounded state, constant time per token, no text.

A stream repeats with period p as long as each token equals the one p before it. The detector counts, for every
period up to `max_period`, how long that has been so without a break. With r such tokens, r + p tokens are r/p + 1
copies. Two levels come out of it: the stream is in a *second copy* (`repetition_tokens` matched), and it *loops*
(`loop_copies` copies that span `loop_tokens`).
"""

from dataclasses import dataclass

import numpy as np

from .thresholds import DEFAULT, Thresholds


@dataclass(frozen=True, slots=True)
class Repetition:
    """A repetition that is going on at a step."""

    period: int
    """Tokens of one copy."""
    copies: float
    """Copies so far, the last one counted by its share."""
    start_step: int
    """Step of the first copy's first token."""
    onset_step: int
    """Step of the second copy's first token, where the repetition begins."""
    loop: bool
    """Whether it is long enough to be a loop."""

    def evidence(self) -> dict[str, float | int]:
        """Return the numbers that a verdict shows."""
        return {
            "period": self.period,
            "copies": round(self.copies, 2),
            "start_step": self.start_step,
            "onset_step": self.onset_step,
        }


class RepetitionDetector:
    """Finds repetition as tokens arrive."""

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
