"""Why each sequence of a call ended: which of the call's stopping criteria was true for it first.

The criteria run as transformers runs them, once each and in order; here only what they return is kept. Of a call with
one sequence that is enough: it ends at the last step. Rows of a batch end at different steps: where a criterion other
than the end token can end a single row, the first step of each row is kept on the device, and read after the loop.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.generation.stopping_criteria import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StopStringCriteria,
)

from ..._internal.safety import shielded
from ...run import StopReason
from .streamer_errors import left_through

PRECEDENCE: Final[tuple[StopReason, ...]] = (
    "eos",
    "stop_string",
    "criterion",
    "policy",
    "cancelled",
    "length",
    "time",
)
"""Which reason is given where several criteria end a sequence at the same step: what its tokens say, then what the
caller says, then the limits."""


class PolicyCriterion:
    """Stands for a policy among the criteria of a step."""


class CancelledCriterion:
    """Stands for somebody who has cancelled the call."""


_KINDS: Final[tuple[tuple[type, StopReason], ...]] = (
    (EosTokenCriteria, "eos"),
    (StopStringCriteria, "stop_string"),
    (MaxLengthCriteria, "length"),
    (MaxTimeCriteria, "time"),
    (PolicyCriterion, "policy"),
    (CancelledCriterion, "cancelled"),
)
_OF_ROWS: Final = frozenset(("stop_string", "criterion", "policy"))
"""Kinds that may end one row of a batch, and cannot be told from the row's tokens afterwards."""
_CANCELLED: Final = ("Cancelled", "Canceled", "CancelledError", "CanceledError")

Verdicts = Sequence[tuple[Any, Any]]
"""The criteria of a step in their order, each with what it returned."""


def kind_of(criterion: Any) -> StopReason:
    """Return the reason that a criterion stands for; `criterion` for those that transformers does not make itself."""
    return next((kind for known, kind in _KINDS if isinstance(criterion, known)), "criterion")


def reason_of_error(error: BaseException, streamer: Any = None) -> StopReason:
    """Return `cancelled` for an exception by which somebody ends a call on purpose, `error` for any other.

    Those are what is no `Exception` (Ctrl-C, a cancelled task, exit), those that are called so, since each framework
    has its own, and whatever the call's streamer raises: it has no other way to say that nobody reads any more.
    """
    names = (kind.__name__ for kind in type(error).__mro__)
    if not isinstance(error, Exception) or any(name.endswith(_CANCELLED) for name in names):
        return "cancelled"
    with shielded("capture.streamer"):
        return "cancelled" if left_through(error, streamer) else "error"
    return "error"


class Stops:
    """What the stopping criteria of one call said."""

    def __init__(self) -> None:
        self.attached = False
        """Whether the loop's criteria report here."""
        self.steps = 0
        """How often they were asked."""
        self.kinds: frozenset[StopReason] = frozenset()
        """Kinds of the criteria that the call has."""
        self._ends: list[Any] = []
        """Token ids of the criteria for end tokens."""
        self._beams = False
        self._last: deque[tuple[int, Tensor | None, list[tuple[StopReason, Any]]]] = deque(maxlen=2)
        """Length, candidates and verdicts of the last steps: transformers may undo the very last one."""
        self._first: Tensor | None = None
        """int32 [sequences], the kinds that ended each row, as bits; 0 while it goes on."""
        self._lengths: Tensor | None = None
        """int32 [sequences], columns of each row when it ended."""

    def attach(self, criteria: Sequence[Any], *, beams: bool, steered: bool = False) -> None:
        """Take note of the call's criteria.

        Args:
            criteria: of the loop that begins.
            beams: whether the rows that they judge are candidates, not sequences.
            steered: whether policies may end a row, too.
        """
        self.attached, self._beams = True, beams
        self.kinds = frozenset(map(kind_of, criteria)) | ({"policy"} if steered else set())
        self._ends = [one.eos_token_id for one in criteria if isinstance(one, EosTokenCriteria)]

    def take(self, input_ids: Any, verdicts: Verdicts) -> None:
        """Take what the criteria said of a step, given the ids [rows, columns] that they judged. Never waits."""
        self.steps += 1
        if not isinstance(input_ids, Tensor) or input_ids.ndim != 2:
            return
        rows, length = input_ids.shape
        said = [(kind_of(criterion), verdict) for criterion, verdict in verdicts]
        self._last.append((length, input_ids if self._beams else None, said))
        if rows > 1 and not self._beams and self.kinds & _OF_ROWS:
            self._take_rows(rows, length, input_ids.device, said)

    @torch.no_grad()
    def _take_rows(self, rows: int, length: int, device: torch.device, said: list[tuple[StopReason, Any]]) -> None:
        if self._first is None or self._lengths is None or len(self._first) != rows:
            self._first = torch.zeros(rows, dtype=torch.int32, device=device)
            self._lengths = torch.zeros_like(self._first)
        bits = torch.zeros_like(self._first)
        for kind, verdict in said:
            flags = flags_of(verdict, rows)
            if flags is not None:
                bits |= flags.to(device=device, dtype=torch.int32) << PRECEDENCE.index(kind)
        ends = (self._first == 0) & (bits != 0)
        self._lengths.masked_fill_(ends, length)
        self._first = torch.where(ends, bits, self._first)

    def go_back(self) -> None:
        """Forget the last steps: their tokens were taken back. Of a call with one sequence."""
        self._last.clear()

    # --- after the loop ---------------------------------------------------------------------------------------------

    def row_lengths(self, rows: int) -> list[int | None] | None:
        """Return at how many columns each row ended, None for one that did not; None where rows were not followed."""
        if self._lengths is None or len(self._lengths) != rows:
            return None
        return [length or None for length in self._lengths.tolist()]

    def followed(self, rows: int) -> bool:
        """Whether every row that ended before the loop did is known or ends with an end token."""
        return self.attached and (not self.kinds & _OF_ROWS or self.row_lengths(rows) is not None)

    def end_tokens(self) -> frozenset[int]:
        """Return the ids of the tokens that end a sequence."""
        return frozenset().union(*map(token_set, self._ends))

    def reasons(self, lengths: Sequence[int | None], sequences: NDArray[np.int64] | None) -> list[StopReason | None]:
        """Return why each sequence ended, None where its criteria do not say.

        Args:
            lengths: columns of each sequence up to its end, with the prompt; None where they are not known.
            sequences: the ids [sequences, columns] with the prompt, by which a beam's candidate is found.
        """
        if self._first is not None and len(self._first) == len(lengths):
            return [_first_of(bits) for bits in self._first.tolist()]
        return [
            None if length is None else self._reason(row, length, len(lengths), sequences)
            for row, length in enumerate(lengths)
        ]

    def _reason(self, row: int, length: int, rows: int, sequences: NDArray[np.int64] | None) -> StopReason | None:
        for columns, candidates, said in reversed(self._last):
            if columns != length:
                continue
            if candidates is None:
                return _first_of(_bits(said, row, rows))
            if sequences is None:
                continue
            same = np.flatnonzero((candidates.cpu().numpy() == sequences[row, :length]).all(1))
            if same.size:
                return _first_of(_bits(said, int(same[0]), len(candidates)))
        return None

    def reason_left(self) -> StopReason | None:
        """Return what ended a beam that neither its tokens nor the last steps explain: the one kind that is left."""
        left = self.kinds & _OF_ROWS if self._beams else frozenset()
        return next(iter(left)) if len(left) == 1 else None


def token_set(value: Any) -> frozenset[int]:
    """Return token ids, however a config or a criterion has them."""
    if value is None:
        return frozenset()
    if isinstance(value, Tensor):
        value = value.flatten().tolist()
    return frozenset(int(token) for token in (value if isinstance(value, list | tuple | set) else [value]))


def flags_of(verdict: Any, rows: int) -> Tensor | None:
    """Return a criterion's verdict as bool [rows]; None for what transformers would not take, either.

    A criterion may return one flag for all rows, as a bool or a tensor, or a column.
    """
    try:
        flags = torch.as_tensor(verdict)
        return flags.bool().reshape(-1).expand(rows) if flags.numel() in (1, rows) else None
    except (TypeError, ValueError, RuntimeError):
        return None


def _bits(said: list[tuple[StopReason, Any]], row: int, rows: int) -> int:
    bits = 0
    for kind, verdict in said:
        flags = flags_of(verdict, rows)
        if flags is not None and row < len(flags) and bool(flags[row]):
            bits |= 1 << PRECEDENCE.index(kind)
    return bits


def _first_of(bits: int) -> StopReason | None:
    return next((kind for place, kind in enumerate(PRECEDENCE) if bits >> place & 1), None)
