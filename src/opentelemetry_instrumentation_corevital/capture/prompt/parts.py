"""What the parts of a prompt analysis have in common: what they are of, and why one of them is absent."""

from typing import Final

from torch import Tensor

from .call_prompts import CallPrompts

SURPRISAL: Final = "prompt_surprisal"
LAYERS: Final = "prompt_layer_transformation"
BASIN: Final = "prompt_basin"
CONNECTIONS: Final = "prompt_connections"
PARTS: Final = (SURPRISAL, LAYERS, BASIN, CONNECTIONS)

SEVERAL: Final = "the prefill was not one pass"
OTHERS: Final = "the prefill has other positions or rows than the prompt"


class Reading:
    """The reading of one call's prefill.

    Args:
        tokens: its prompts.
    """

    def __init__(self, tokens: CallPrompts) -> None:
        self.tokens = tokens
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
