"""What the model could have said at each step: part of `run.py`, where users find it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .short_repr import short_repr


@dataclass(frozen=True, slots=True, eq=False)
class Alternatives:
    """The five likeliest tokens of each step under the model's raw distribution, before temperature and processors.

    They are ordered by logit, of equal logits the token with the lower id first. The chosen token need not be among
    them. Where fewer than five tokens can be chosen, the rest has probability 0 and the id -1.
    """

    probabilities: NDArray[np.float32]
    """[T, 5], NaN at a step without a distribution."""
    tokens: NDArray[np.int32] | None
    """[T, 5] ids, -1 where there is none; content. None where they are not known."""
    __repr__ = short_repr
