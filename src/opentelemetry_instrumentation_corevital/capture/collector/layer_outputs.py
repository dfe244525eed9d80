"""The layers' outputs of one step: the last position of each, kept until the step is over.

By reference where that is the whole output or little less, as a copy where it is a slice of a long prefill or where
layers change what they have returned. Step after step the same layers return tensors of the same shape at other
addresses. So once a step has been inspected tensor by tensor, the hooks of the next ones, of this call or another, only
collect, and all of it is compared at once.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.scores import is_brief
from ..model.structure import Anatomy, Pattern
from .kept_tensors import Unchanged, all_apart

Collected = tuple[nn.Module, Tensor, int]
"""A layer, its output, and the version of that when it was returned: a later one says that somebody has changed it."""


class StepHidden:
    """Takes a step's layer outputs.

    Args:
        layers: id of a layer -> its index, of those that are looked at.
        anatomy: of the model; remembers from call to call what its layers return, and whether they change that.
        give_up: gets the reason why nothing inside the model can be told.
        lose: gets the reason why hidden states cannot be told.
    """

    def __init__(
        self,
        layers: Mapping[int, int],
        anatomy: Anatomy,
        *,
        give_up: Callable[[str], None],
        lose: Callable[[str], None],
    ) -> None:
        self.states: dict[int, Tensor] = {}
        """Layer -> [B, D] or [B, 1, D]."""
        self.batches: set[int] = set()
        """Sequences of the outputs."""
        self.ran = False
        """Whether one of the layers has run in the call."""
        self.addresses: list[int] = []
        """Of the states in the order of `states`, where all of them are held by reference."""
        self.alike: tuple[torch.Size, torch.dtype] | None = None
        """Shape and dtype of all states, where they are known to be the same and contiguous."""
        self.irregular = False
        """Whether the model was seen to run in a step on more or other than the step's tokens."""
        self._layers = layers
        self._anatomy = anatomy
        self._give_up, self._lose = give_up, lose
        self._step = 0
        self._prefill = True
        """Whether the step may be that of many positions, and in several parts: the first one of a loop."""
        self._collected: list[Collected] = []
        self._inspected: list[int] = []
        self._noted = Unchanged()
        self._holds = False
        self._changed = False
        self._first_positions = 0

    def begin(self, step: int, prefill: bool) -> Callable[[nn.Module, Any], None]:
        """Forget the last step; return what takes the outputs of this one, as its layers return them."""
        self._step, self._prefill = step, prefill
        self.clear()
        return self._inspect if prefill or self._anatomy.pattern is None else self._collect

    def clear(self) -> None:
        """Forget the step, but for the pattern."""
        for one in (self.states, self.batches, self.addresses, self._collected, self._inspected, self._noted):
            one.clear()
        self.alike = None
        self._holds = self._changed = False

    # --- tensor by tensor -------------------------------------------------------------------------------------------

    def _inspect(self, module: nn.Module, output: Any, version: int | None = None) -> None:
        """Take a layer's output, and its version when it was returned, if that is not now."""
        index = self._layers.get(id(module))
        if index is None:
            return
        self.ran = True
        hidden = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(hidden, Tensor) or hidden.ndim != 3:
            self._lose("a layer's output is not [sequences, positions, width]")
            return
        sequences, positions, _ = hidden.shape
        self.batches.add(sequences)
        if not self._prefill and index in self.states:
            self.irregular = True
            self._give_up("a layer runs several times in a step")
        elif not self._prefill and positions == 1 and self._may_hold(hidden, version):
            self.states[index] = hidden
            if hidden is output:
                self._inspected.append(id(module))
        elif self._is_expected(positions):
            # Of a single sequence, so that what is kept is contiguous.
            brief = self._prefill and sequences == 1 and is_brief(hidden) and self._may_hold(hidden, version)
            last = torch.narrow if brief else torch.narrow_copy
            self.states[index] = last(hidden, 1, positions - 1, 1)
        else:
            # Streams beside that of the text (ProphetNet): its attention has them, too.
            self.irregular = True
            self._give_up(f"a layer's output has {positions} positions at step {self._step}")

    def _is_expected(self, positions: int) -> bool:
        """Whether a layer's output is of the step's tokens only: of the new one, or without a cache of all."""
        if self._prefill and (positions > 1 or not self._step):
            self._first_positions = positions - self._step
        return self._prefill or positions in (1, self._first_positions + self._step)

    def _may_hold(self, hidden: Tensor, version: int | None) -> bool:
        """Whether a layer's output can be kept as it is, and note what tells whether that was right."""
        if hidden.is_inference() or self._anatomy.in_place:
            return False
        # The next layer might add to it in place. Whether layers do is not known before the first step.
        self._noted.note(hidden, version)
        if self._anatomy.in_place is None:
            return False
        self._holds = True
        return True

    # --- all at once ------------------------------------------------------------------------------------------------

    def _collect(self, module: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor) and not output.is_inference():
            self._collected.append((module, output, output._version))
        else:  # not like the pattern; and tensors of inference mode have no version
            self._inspect(module, output)

    def settle(self) -> None:
        """Take what was only collected, when the step is over."""
        if not self._collected:
            return
        collected = [one for one in self._collected if id(one[0]) in self._layers]
        pattern = self._anatomy.pattern
        if pattern is None or not self._matches(pattern, collected):
            self._anatomy.pattern = None
            for one in collected:
                self._inspect(*one)

    def _matches(self, pattern: Pattern, collected: list[Collected]) -> bool:
        """Take outputs that are like those of the pattern; return whether they are."""
        if tuple(id(module) for module, _, _ in collected) != pattern.modules:
            return False
        states = [state for _, state, _ in collected]
        shapes = [state.shape for state in states]
        if shapes.count(pattern.shape) != len(shapes) or not all(map(Tensor.is_contiguous, states)):
            return False
        self._changed = [state._version for state in states] != [version for _, _, version in collected]
        self.states.update(zip(pattern.layers, states, strict=True))
        self.addresses.extend(map(Tensor.data_ptr, states))
        self._changed = self._changed or not all_apart(self.addresses)
        self.batches.add(pattern.shape[0])
        self.alike = pattern.shape, pattern.dtype
        self._holds = True
        return True

    def overwritten(self) -> bool:
        """Whether what is kept of this step was changed meanwhile; the model's other steps learn from it."""
        if self._changed or not self._noted.holds():
            self._anatomy.in_place = True
            self._anatomy.pattern = None
            return self._holds
        if len(self._noted) and self._anatomy.in_place is None:
            self._anatomy.in_place = False
        return False

    def learn(self) -> None:
        """Let the next steps be held against this one, if every state of it is held and all are alike."""
        states = list(self.states.values())
        if self.alike is not None or not states or len(self._inspected) != len(states):
            return
        first = states[0]
        alike = [
            state
            for state in states
            if state.shape == first.shape and state.dtype is first.dtype and state.is_contiguous()
        ]
        if len(alike) != len(states) or len({state.device for state in states}) != 1:
            return
        self._anatomy.pattern = Pattern(tuple(self._inspected), tuple(self.states), first.shape, first.dtype)
