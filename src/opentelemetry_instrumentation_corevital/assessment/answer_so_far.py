"""The answer risk of a run that goes on: what it would be if the run were cut off at the step."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Final

from ..baselines.answer_model import AnswerModel
from .answer_features import WINDOW
from .answer_risk import answer_risk


class AnswerSoFar:
    """Takes steps and returns the answer risk of those so far: constant time and state per step.

    It equals `answer_risk` of the features of the prefix but for rounding. Beyond the model's most tokens, and once a
    number was not finite, there is none any more.
    """

    def __init__(self, model: AnswerModel) -> None:
        self._model = model
        self._tokens = 0
        self._over = False
        self._surprisal = _Bits()
        self._entropy = _Bits()
        self._margin_sum = self._margin_head = 0.0
        self._lowest_margin = self._lowest_top1 = math.inf

    def add(self, surprisal: float, entropy: float, margin: float, top1_prob: float) -> float | None:
        """Take the next step; return the probability that the answer is wrong, None outside the support."""
        self._tokens += 1
        self._over |= self._tokens > self._model.most_tokens
        self._over |= not math.isfinite(surprisal + entropy + margin + top1_prob)
        if self._over:
            return None
        self._surprisal.add(surprisal)
        self._entropy.add(entropy)
        self._margin_sum += margin
        if self._tokens <= WINDOW:
            self._margin_head = self._margin_sum / self._tokens
        self._lowest_margin = min(self._lowest_margin, margin)
        self._lowest_top1 = min(self._lowest_top1, top1_prob)
        return answer_risk(self._features(), self._tokens, self._model).probability

    def _features(self) -> Mapping[str, float]:
        """Return those of `answer_features`, which says what they are."""
        surprisal, entropy, tokens = self._surprisal, self._entropy, self._tokens
        return {
            "surprisal_scaled": _log(surprisal.sum / math.sqrt(tokens)),
            "surprisal_mean": _log(surprisal.sum / tokens),
            "surprisal_window": _log(surprisal.window),
            "surprisal_largest": _log(surprisal.largest),
            "surprisal_head": _log(surprisal.head),
            "surprisal_first": _log(surprisal.first),
            "entropy_mean": _log(entropy.sum / tokens),
            "entropy_window": _log(entropy.window),
            "entropy_head": _log(entropy.head),
            "entropy_first": _log(entropy.first),
            "margin_mean": self._margin_sum / tokens,
            "margin_head": self._margin_head,
            "margin_lowest": self._lowest_margin,
            "top1_lowest": self._lowest_top1,
            "length": math.log2(tokens),
        }


class _Bits:
    """What is kept of a signal in bit."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.first = math.nan
        self.head = math.nan
        """Mean of the first tokens, as many as a window has."""
        self.largest = -math.inf
        self.window = -math.inf
        """Largest mean of so many tokens in a row; of all of them while they are fewer."""
        self._last: Final = deque[float](maxlen=WINDOW)

    def add(self, value: float) -> None:
        if not self._last:
            self.first = value
        filling = len(self._last) < WINDOW
        self._last.append(value)
        self.sum += value
        self.largest = max(self.largest, value)
        mean = math.fsum(self._last) / len(self._last)
        if filling:
            self.head = mean
        self.window = mean if filling else max(self.window, mean)


def _log(bits: float) -> float:
    return math.log2(1.0 + max(0.0, bits))
