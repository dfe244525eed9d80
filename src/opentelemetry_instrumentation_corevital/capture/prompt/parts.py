"""What the parts of a prompt analysis have in common: what they are of, and why one of them is absent."""

import contextlib
from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor

from ..attention.scores import Attended
from ..definitions.prompt_numbers import PromptKeys
from .call_prompts import CallPrompts

SURPRISAL: Final = "prompt_surprisal"
LAYERS: Final = "prompt_layer_transformation"
BASIN: Final = "prompt_basin"
CONNECTIONS: Final = "prompt_connections"
PARTS: Final = (SURPRISAL, LAYERS, BASIN, CONNECTIONS)

SEVERAL: Final = "the prefill was not one pass"
OTHERS: Final = "the prefill has other positions or rows than the prompt"


class PromptKernels(Protocol):
    """Makes the numbers of a prompt where it can read what they are made of."""

    def surprisal(self, logits: Tensor, tokens: Tensor, out: Tensor) -> bool:
        """Write the surprisal of tokens, bit; return whether that could be done.

        Args:
            logits: [R x C, V].
            tokens: int64 [R, C].
            out: float32 [R, C].
        """

    def layer_change(self, before: Tensor, after: Tensor, real: Tensor) -> Tensor | None:
        """Return the sum over positions of 1 - cosine of two layers' outputs, float32 [B]; None where it cannot.

        Args:
            before, after: [B, P, D].
            real: bool [B, P], which positions count.
        """

    def attention(
        self, taken: Attended, keys: PromptKeys, *, full: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
        """Return what the last query attends to; None where it cannot.

        Args:
            taken: the query, and the keys that it may see.
            keys: which of them are which token of the prompt.
            full: whether connections are kept.

        Returns:
            The basin score [B, H]; with `full` index and weight [B, H, 8] of the largest weights.
        """


Launches = Callable[[torch.device], contextlib.AbstractContextManager[PromptKernels | None]]


def no_kernels(_device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context whose value is None: torch's own operations make the numbers."""
    return contextlib.nullcontext()


class Reading:
    """The reading of one call's prefill.

    Args:
        tokens: its prompts.
        launches: device -> a context whose value makes numbers there, or None.
    """

    def __init__(self, tokens: CallPrompts, launches: Launches) -> None:
        self.tokens = tokens
        self.launches = launches
        self.first: int | None = None
        """The first column that the prefill has; None until a layer has shown it."""
        self.absent: dict[str, str] = {}

    def lose(self, reason: str, *parts: str) -> None:
        """Declare parts absent; none: all. The first reason counts."""
        for part in parts or PARTS:
            self.absent.setdefault(part, reason)

    def lose_several(self) -> None:
        """Declare all absent, since the model ran several times: parts of a prompt do not fit it, either."""
        self.absent = {part: reason for part, reason in self.absent.items() if reason != OTHERS}
        self.lose(SEVERAL)

    def placed(self, states: Tensor, part: str) -> int | None:
        """Return n where every n-th row of states [rows, positions, D] is a prompt's first; None if no prompt's.

        Args:
            states: of a layer.
            part: what is made of it, which is absent if they are not the prompts'.
        """
        every, first = self.tokens.every(states.shape[0]), self.tokens.first(states.shape[1])
        if every is None or first is None:
            self.lose(OTHERS, part)
            return None
        self.first = first
        return every
