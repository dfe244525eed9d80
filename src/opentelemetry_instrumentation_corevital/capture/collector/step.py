"""One step of a call: begun with its logits and what the hooks saw of it, completed with the chosen tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..attention.plan import Plan
from .step_attention import StepAttention


@dataclass(slots=True)
class LayerStates:
    """The last positions of the layers' outputs, in the order of the row."""

    states: list[Tensor]
    """Each [sequences, D] or [sequences, 1, D]."""
    addresses: list[int]
    """Of the states, where these are known without an inspection of each; else nothing."""
    alike: tuple[torch.Size, torch.dtype] | None
    """Shape and dtype of all states, where they are known to be the same and contiguous."""


@dataclass(slots=True)
class Step:
    """What is known of one step. A backend makes its row of it.

    `hidden` and `attention` are None where nothing was seen, or nothing that can be told.
    """

    index: int
    logits: Tensor | None
    """The model's own [sequences, vocabulary], before any processor; None once the step has been measured."""
    edited: bool
    """Whether a processor may change the logits in place after the step has been measured."""
    hidden: LayerStates | None = None
    attention: StepAttention | None = None
    """What took the attention of this step, and reduces it."""
    outputs: Mapping[str, list[Tensor]] = field(default_factory=dict)
    """Family -> the outputs of modules inside its layers (see `targets`), in the order of the row: each [sequences, D]
    or [sequences, 1, D]."""
    plan: Plan | None = None
    """How all of that attention can be reduced together; None where it has to be looked at one by one."""
    tokens: Tensor | None = None
    """int64 [sequences], the chosen ones."""
    done: Tensor | None = None
    """bool [sequences], which sequences are over."""
    sequences: int = field(init=False)
    device: torch.device = field(init=False)
    """Of the logits, and so of the row."""

    def __post_init__(self) -> None:
        assert self.logits is not None
        self.sequences, self.device = self.logits.shape[0], self.logits.device

    def measured(self) -> None:
        """Refer to nothing of the model's any more: its numbers are under way to the row."""
        self.logits = self.hidden = self.attention = self.plan = None
        self.outputs = {}

    def choose(self, tokens: Tensor, done: Tensor) -> None:
        """Complete the step with the chosen tokens int64 [sequences], and bool [sequences], which are over."""
        self.tokens, self.done = tokens, done

    def choose_none(self) -> None:
        """Complete a step whose rows have no token of their own: none was chosen, or the beams that go on have them."""
        self.tokens = torch.zeros(self.sequences, dtype=torch.int64, device=self.device)
        self.done = self.tokens.bool()
