"""Handing a call's steps on while the call goes on."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np

from ..._internal.safety import shielded
from ...run import Run
from ..row.host_transfer import RowStore
from ..row.layout import DONE


class Follower(Protocol):
    """Gets each step of a call as soon as its numbers are on the host."""

    @property
    def layers(self) -> bool:
        """Return whether it looks at layers, too."""

    def __call__(self, step: int, parts: Sequence[Run]) -> None:
        """Take a step, given as a Run of its own for each sequence that goes on."""

    def go_back(self, sequence: int, steps: Sequence[Run]) -> None:
        """Forget a sequence's steps but for these: the tokens of the others have been taken back."""


class Following:
    """Hands each step to a follower once, in order.

    Args:
        follower: gets the steps.
        part: makes a Run of a single step, see `RunMaker.part`.
    """

    def __init__(self, follower: Follower, part: Callable[[RowStore, int, bool], Run]) -> None:
        self._follower: Final = follower
        self._part: Final = part
        self._handed_on = 0
        self.over: set[int] = set()
        """Sequences of which no more steps are handed on."""

    def go_on(self, store: RowStore, width: int, steps: int | None = None) -> None:
        """Hand on the steps whose rows have arrived since.

        Args:
            store: the rows so far.
            width: of a row without attention.
            steps: how many steps are handed on in all, at most; None: all.
        """
        with shielded("capture.follower"):
            while self._handed_on < (store.steps if steps is None else min(steps, store.steps)):
                step, self._handed_on = self._handed_on, self._handed_on + 1
                row = store.step(step, width)
                going = [index for index in range(row.rows.shape[1]) if index not in self.over]
                self._follower(step, [self._part(row, index, self._follower.layers) for index in going])
                self.over.update(np.flatnonzero(row.rows[0, :, DONE] > 0).tolist())

    def go_back(self, store: RowStore, width: int, steps: int) -> None:
        """Have a call of one sequence go on behind so many steps.

        Args:
            store: the rows of these steps.
            width: of a row without attention.
            steps: how many there are.
        """
        self._handed_on = steps
        self.over.clear()
        with shielded("capture.follower"):
            kept = [self._part(store.step(step, width), 0, self._follower.layers) for step in range(steps)]
            self._follower.go_back(0, kept)
