"""Outputs of modules inside the layers in one step (see `targets`): the last position of each.

Such a module may not know how many sequences there are: [sequences x positions, D]. The output of its layer, which
comes after it, says that. So a module's output waits for its layer's.

Kept by reference where it is of one position, as a copy where it is of more, or where nothing would tell that it was
changed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from ..model.structure import Anatomy, Output
from .kept_tensors import Unchanged


class StepOutputs:
    """Takes a step's outputs.

    Args:
        anatomy: of the model.
        selected: indices of the layers that are looked at.
        lose: gets a family, and the reason why it cannot be told.
    """

    def __init__(self, anatomy: Anatomy, selected: Iterable[int], lose: Callable[[str, str], None]) -> None:
        chosen = frozenset(selected)
        self._output_of = {key: at for key, at in anatomy.output_of.items() if at.layer in chosen}
        self._layer_of = anatomy.layer_of
        self._lose = lose
        self.layers: Mapping[str, tuple[int, ...]] = {
            family: tuple(sorted(at.layer for at in self._output_of.values() if at.family == family))
            for family in anatomy.outputs
        }
        """Family -> the layers that have such a module and are looked at."""
        self.what = {at.family: at.what for at in anatomy.output_of.values()}
        """Family -> what its outputs are, in words."""
        self.taken: dict[str, dict[int, Tensor]] = {family: {} for family in self.layers}
        """Family -> layer -> [B, D] or [B, 1, D]."""
        self._waiting: list[tuple[Output, Tensor]] = []
        self._noted = Unchanged()
        self._prefill = True

    def __bool__(self) -> bool:
        """Whether there is a module whose output is taken."""
        return bool(self._output_of)

    def begin(self, prefill: bool) -> None:
        """Forget the last step; the new one may come in several parts if it is the first one of a loop."""
        self._prefill = prefill
        self.clear()

    def clear(self) -> None:
        """Forget the step."""
        self._waiting.clear()
        self._noted.clear()
        for taken in self.taken.values():
            taken.clear()

    def take(self, module: nn.Module, output: Any) -> None:
        """Take what a module has returned."""
        at = self._output_of.get(id(module))
        if at is None:
            return
        value = at.pick(output)
        if not isinstance(value, Tensor) or value.ndim not in (2, 3) or value.shape[-1] < 2:
            self._lose(at.family, f"{at.what} are not returned as one row of numbers for each token")
        else:
            self._waiting.append((at, value))

    def take_layer(self, module: nn.Module, output: Any) -> None:
        """Take a layer's output: what modules inside it have returned is of as many sequences and positions."""
        if not self._waiting:
            return
        layer, waiting = self._layer_of.get(id(module)), self._waiting
        self._waiting = [one for one in waiting if one[0].layer != layer]
        hidden = output[0] if isinstance(output, tuple | list) else output
        for at, value in waiting:
            if at.layer == layer:
                self._keep(at, value, tuple(hidden.shape[:2]) if isinstance(hidden, Tensor) else ())

    def _keep(self, at: Output, value: Tensor, tokens: tuple[int, ...]) -> None:
        taken = self.taken[at.family]
        if not self._prefill and at.layer in taken:
            self._lose(at.family, f"{at.what} are made several times in a step")
        elif len(tokens) != 2 or value.shape[:-1] not in (tokens, (tokens[0] * tokens[1],)):
            self._lose(at.family, f"{at.what} are not returned as one row of numbers for each token")
        elif tokens[1] == 1 and not value.is_inference():
            self._noted.note(value)
            taken[at.layer] = value
        else:
            by_sequence = value if value.ndim == 3 else value.unflatten(0, tokens)
            taken[at.layer] = by_sequence[:, -1].clone()

    def overwritten(self) -> bool:
        """Whether what is kept of this step by reference was changed meanwhile."""
        return not self._noted.holds()
