"""Which row of a step is the ancestor of which returned sequence.

A loop works on rows. In greedy search and sampling a row is one sequence, from the first step to the last. In a beam
search it is a beam: several may go on from one row, with different tokens, and another row may have none that goes on.
What a step's row says belongs to every sequence that descends from it; the chosen token, and how surprising it was, to
one of them. Only here are rows looked up by sequence.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from .host_transfer import RowStore
from .layout import DONE, LOGITS, TOKEN

Ids = NDArray[np.int64]
"""[sequences, columns] on the host."""

_SURPRISAL: Final = LOGITS["surprisal"]

_OTHER_STEPS: Final = "the loop's steps are not those of the result"
_OTHER_TOKENS: Final = "the loop's tokens are not those of the result"


class Ancestry(Protocol):
    """Gives each returned sequence the rows that it descends from."""

    @property
    def at_once(self) -> bool:
        """Whether it is known while the loop goes on: else only the result tells which rows were whose."""

    def by_sequence(self, rows: RowStore, tokens: Ids) -> RowStore | str:
        """Return rows [sequences, signals] of the result's sequences, or why the loop's rows are not theirs.

        Args:
            rows: of the loop's steps.
            tokens: the result's new tokens [sequences, steps], padded.
        """

    def beginning(self, rows: int) -> list[int]:
        """Return the row that each sequence begins with, of a first step that has so many."""


class RowPerSequence:
    """Each row is a sequence."""

    at_once: Final = True

    def by_sequence(self, rows: RowStore, tokens: Ids) -> RowStore | str:
        """See `Ancestry`. A deferred stop check may have made some more steps than the result has."""
        count, steps = tokens.shape
        if rows.rows.shape[1] != count or rows.steps < steps:
            return _OTHER_STEPS
        if not np.array_equal(rows.rows[:steps, :, TOKEN].T.astype(np.int64), tokens):
            return _OTHER_TOKENS
        return rows

    def beginning(self, rows: int) -> list[int]:
        """See `Ancestry`."""
        return list(range(rows))


class BeamAncestry:
    """Rows are beams; the result's sequences descend from some of them.

    Args:
        beams: rows of each prompt.
        returned: sequences of each prompt in the result.
        ancestors: the row that each sequence descends from [sequences, steps], -1 behind its end; None until the search
            is over.
        candidates: of every step [candidates, 3]: the row that each goes on from, its token, and its surprisal in bit.
    """

    at_once: Final = False

    def __init__(self, beams: int, returned: int, ancestors: Ids | None, candidates: RowStore) -> None:
        self._beams, self._returned = beams, returned
        self._ancestors = ancestors
        self._candidates = candidates

    def by_sequence(self, rows: RowStore, tokens: Ids) -> RowStore | str:
        """See `Ancestry`."""
        ancestors, (count, steps) = self._ancestors, tokens.shape
        if ancestors is None or len(ancestors) != count or ancestors.shape[1] < steps:
            return _OTHER_STEPS
        if min(rows.steps, self._candidates.steps) < steps:
            return _OTHER_STEPS
        lengths = (ancestors >= 0).sum(1)
        gathered = RowStore()
        gathered.width = rows.width
        for step in range(steps):
            numbers, time_ns = rows.at(step)
            alive = np.flatnonzero(lengths > step)
            surprisals = self._surprisals(step, ancestors[alive, step], tokens[alive, step])
            if surprisals is None:
                return _OTHER_TOKENS
            row = np.full((count, numbers.shape[1]), np.nan, np.float32)
            row[alive] = numbers[ancestors[alive, step]]
            row[alive, _SURPRISAL] = surprisals
            row[:, TOKEN], row[:, DONE] = tokens[:, step], lengths <= step + 1
            gathered.append(row, time_ns)
        return gathered

    def _surprisals(self, step: int, rows: Ids, tokens: Ids) -> NDArray[np.float32] | None:
        """Return how surprising each token was to the row that it goes on from; None where it was no candidate."""
        candidates, _ = self._candidates.at(step)
        same = (candidates[:, 0] == rows[:, None]) & (candidates[:, 1] == tokens[:, None])
        if not same.any(1).all():
            return None
        found: NDArray[np.float32] = candidates[same.argmax(1), 2]
        return found

    def beginning(self, rows: int) -> list[int]:
        """See `Ancestry`. All beams of a prompt begin alike."""
        return [row for row in range(0, rows, self._beams) for _ in range(self._returned)]
