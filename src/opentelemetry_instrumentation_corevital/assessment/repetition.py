"""Repetition in a token stream, found online: bounded state, constant time per token, no text.

A token *recurs* when the n-gram of `gram` tokens that it ends stood before, at most `max_period` tokens ago. The
detector counts how often an n-gram stood: once, and the token that ends it is in a second copy; twice, and it is in a
third. An n-gram that stays away for longer than `max_period` begins anew. Real loops change a word, a number or a line
break between copies. That breaks every comparison with one fixed lag, but only a few of the n-grams.

- *Second copy*: of the last `repetition_window` tokens `repetition_recurring` recur.
- *Loop*: of the last `loop_window` tokens `loop_recurring` are in a third or later copy, all copies together span
  `loop_tokens`, and the copies are near enough to each other.

Records of structured text (JSON, SQL, a log) recur, too, but for their values. So tokens in third copies are not
enough. One of these has to be, too:

- A copy was *alike*: in the last `alike_lasts` tokens the text followed an earlier place, token for token, for a whole
  period.
- Hardly a token breaks the copies: `unlike_recurring` of `loop_window` tokens are in a third or later copy, and of the
  last two copies at most `unlike_new` is new, of a whole period nothing. A token is *new* if no n-gram that recurs has
  it.
- Nothing is new in the last two copies, and each differs from the one a period before in one place at most.

Where no copy was alike the last two have `different_tokens` different tokens at least: of fewer (yes and no, dice) all
n-grams recur by chance.

A repetition begins with the first token that recurs after `repetition_window` that did not. Its period is the distance
to the place that the text follows where the last copies are alike, else the distance to the last copy that holds the
majority (Boyer and Moore's vote: one candidate, one counter).
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from .thresholds import DEFAULT, Thresholds

_TOKEN_BITS = 24
_NEVER = (0, 0)
_LONG_AGO = -(1 << 60)


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
    """Whether the last copies are alike: each of the last tokens, of `loop_window` and of a period at least, is the one
    that stood `period` tokens before it."""
    unbroken: bool = True
    """Whether all tokens of it recur, or at least all of the last `loop_window`, be it in another order."""
    alike_step: int = 0
    """Step of the first of these tokens; where `exact` is false it means nothing."""
    alike_copies: float = 0.0
    """Copies that are alike, the one before `alike_step` among them."""

    def evidence(self) -> dict[str, float | int | bool]:
        """Return the numbers that a verdict shows; those of the alike copies where only the last ones are."""
        numbers = {
            "period": self.period,
            "copies": round(self.copies, 2),
            "start_step": self.start_step,
            "onset_step": self.onset_step,
            "exact": self.exact,
        }
        if self.exact and self.alike_step > self.onset_step:
            numbers |= {"alike_step": self.alike_step, "alike_copies": round(self.alike_copies, 2)}
        return numbers


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
        self._tokens = [-1] * (thresholds.max_period + max(thresholds.loop_copies))  # of the last steps, a ring
        self._followed = self._distance = 0  # tokens in a row that an earlier place has, too, and how far back it is
        self._alike = _LONG_AGO  # the last step at which a copy was alike
        self._enough = self._most = _LONG_AGO  # the last steps at which enough tokens, or most, were in third copies
        self._known = 0  # the last tokens as bits, the newest lowest: 0 for a new one
        self._known_bits = (1 << max(thresholds.loop_copies)) - 1

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
        before, stood = self._seen.get(ngram, _NEVER) if step >= limits.gram - 1 else _NEVER
        if stood:
            self._recurs(step, step - before)
        self._follow(step, token, step - before if stood else 0)
        if step < limits.gram - 1:
            return False
        self._remember(ngram, stood + 1)
        self._recurring = (self._recurring << 1 | (stood > 0)) & self._window_bits
        self._third = (self._third << 1 | (stood > 1)) & self._window_bits
        third = self._third.bit_count()
        self._enough = step if third >= limits.loop_recurring else self._enough
        self._most = step if third >= limits.unlike_recurring else self._most
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

    def _follow(self, step: int, token: int, distance: int) -> None:
        """Go on at the earlier place that the text follows, or at that of the n-gram that recurs, if one does."""
        limits = self._limits
        known = (1 << limits.gram) - 1 if distance else 0
        self._known = (self._known << 1 | known) & self._known_bits
        place = step % len(self._tokens)
        if self._followed and self._tokens[place - self._distance] == token:
            self._followed += 1
        else:
            self._followed, self._distance = (limits.gram, distance) if distance else (0, 0)
        self._tokens[place] = token
        if self._followed >= max(limits.alike_tokens, self._distance):
            self._alike = step

    def _recurs(self, step: int, distance: int) -> None:
        """Take note of a token that recurs."""
        if not self._recurring & self._short_bits:
            self._begin, self._count, self._votes, self._alike = step, 0, 0, _LONG_AGO
        self._last = step
        self._count += 1
        if distance == self._period:
            self._votes = min(self._votes + 1, self._limits.max_period)
        elif self._votes:
            self._votes -= 1
        else:
            self._period, self._votes = distance, 1

    def _told(self) -> Repetition:
        limits = self._limits
        exact = self._followed >= max(self._distance, limits.loop_window)
        period = self._distance if exact else self._period
        onset = self._begin - limits.gram + 1
        spanned = self._last - onset + 1
        long_enough = spanned + period >= limits.loop_tokens
        return Repetition(
            period=period,
            copies=spanned / period + 1,
            start_step=max(0, onset - period),
            onset_step=onset,
            loop=long_enough and (self._alike_lately() or self._nearly_alike()),
            exact=exact,
            unbroken=self._count == self._last - self._begin + 1 or self._recurring == self._window_bits,
            alike_step=self._step - self._followed + 1,
            alike_copies=self._followed / period + 1,
        )

    def _alike_lately(self) -> bool:
        """Return whether a copy was alike and third copies went on, both not long ago."""
        step, limits = self._step, self._limits
        return step - self._alike <= limits.alike_lasts and step - self._enough < limits.loop_pause

    def _nearly_alike(self) -> bool:
        """Return whether third copies go on that are near enough to each other, though none was alike."""
        if self._enough < self._step:
            return False
        if not self._different(self._two_copies(self._period)):
            return False
        if self._step - self._most < self._limits.loop_pause and self._little_new(self._period):
            return True
        return any(map(self._one_change, {self._period, self._distance} - {0}))

    def _different(self, count: int) -> bool:
        """Return whether so many last tokens are different enough: of a few tokens all n-grams recur by chance."""
        end = self._step + 1
        return len(set(self._kept(max(0, end - count), end))) >= self._limits.different_tokens

    def _little_new(self, period: int) -> bool:
        """Return whether there is little new in the last two copies, and for a period nothing at all."""
        limits, size = self._limits, self._two_copies(period)
        known = self._known & (1 << size) - 1
        least = min(max(period, limits.alike_tokens), size)
        return size - known.bit_count() <= limits.unlike_new * size and _has_run(known, least)

    def _one_change(self, period: int) -> bool:
        """Return whether nothing is new in the last two copies, and each has changed in one place at most."""
        end = self._step + 1
        size = min(self._two_copies(period), end - period)
        if size <= 0 or (self._known & (1 << size) - 1).bit_count() < size:
            return False
        pairs = zip(self._kept(end - size, end), self._kept(end - size - period, end - period), strict=True)
        changed = [token != before for token, before in pairs]
        places = changed[0] + sum(after > before for before, after in pairwise(changed))
        return places * max(period, self._limits.change_distance) <= size

    def _two_copies(self, period: int) -> int:
        least, most = self._limits.loop_copies
        return min(max(2 * period, least), most)

    def _kept(self, begin: int, end: int) -> list[int]:
        """Return the tokens of the steps from `begin` until before `end`, all of which are in the ring."""
        ring = self._tokens
        return [ring[step % len(ring)] for step in range(begin, end)]


def _has_run(bits: int, length: int) -> bool:
    """Return whether a number has so many 1 bits in a row."""
    found = 1
    while found < length:
        more = min(found, length - found)
        bits &= bits >> more
        found += more
    return bits > 0
