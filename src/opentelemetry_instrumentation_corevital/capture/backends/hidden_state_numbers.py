"""All numbers of hidden states, by torch: of a step, or of several at once."""

import torch
from torch import Tensor

from ..definitions.hidden_states import cosine
from ..row.stacking import stacked
from .layer_reduction import flat, moved, reduce_hidden, reduce_states


class HiddenNumbers:
    """Reduces the layers' states of one step after the other, each compared with the one before it."""

    def __init__(self) -> None:
        self._last: Tensor | None = None

    def of_step(self, states: list[Tensor], device: torch.device, *, ends: bool) -> Tensor:
        """Return the numbers of one step's hidden states.

        Args:
            states: of the layers in their order, each [B, D] or [B, 1, D].
            device: of the result.
            ends: whether the last of them is the model's last layer, whose states are compared.

        Returns:
            float32 [B, numbers]: every layer's statistics and transformation, and the cosine with the step before.
        """
        last = states[-1].reshape(len(states[-1]), -1)
        numbers = self._laid_out(reduce_hidden(states, device), last, 1, ends=ends)
        self.go_on(last)
        return numbers

    def of_steps(self, states: Tensor, *, ends: bool) -> Tensor:
        """Return the numbers [steps, B, numbers] of the hidden states [steps, layers, B, D] of steps in a row.

        It can be asked for again, until `go_on` is told the last of these steps.
        """
        steps, layers, sequences, width = states.shape
        by_layer = states.transpose(0, 1).reshape(layers, steps * sequences, width).float()
        numbers = self._laid_out(reduce_states(by_layer), by_layer[-1], steps, ends=ends)
        return numbers.view(steps, sequences, -1)

    def go_on(self, last: Tensor) -> None:
        """Keep a copy of the last layer's states [B, D] of a step, for the next one to be compared with."""
        self._last = last.to(torch.float32, copy=True)

    def reorder(self, parents: Tensor) -> None:
        """Let each sequence go on from another one's last step: parents int64 [B]."""
        if self._last is not None:
            self._last = self._last.index_select(0, moved(parents, self._last.device))

    def break_off(self) -> None:
        """Forget the last step: the next one has none to be compared with."""
        self._last = None

    def _laid_out(self, by_layer: Tensor, last: Tensor, steps: int, *, ends: bool) -> Tensor:
        """Return a block from its layers' numbers [layers, steps x B, numbers]: behind them those of the step."""
        if ends:
            cosines = moved(self._cosines(last.float(), steps), by_layer.device)
        else:
            cosines = torch.full((len(last),), torch.nan, dtype=torch.float32, device=by_layer.device)
        return torch.cat((flat(by_layer), stacked("hidden", {"hidden_cosine": cosines}, "step")), -1)

    def _cosines(self, states: Tensor, steps: int) -> Tensor:
        """Return the cosines [steps x B] of the last layer's states [steps x B, D] with those of the step before."""
        sequences = len(states) // steps
        before = self._last
        if before is None or before.shape != states[:sequences].shape:
            before = torch.full_like(states[:sequences], torch.nan)
        if steps > 1:
            before = torch.cat((before, states[:-sequences]))
        return cosine(states, before)
