"""What each layer does to the positions of a prompt, as its output comes by.

A layer's output is compared with that of the layer before, which is kept until then: the model itself keeps it as long,
as the layer's input. A copy is kept where it would not stay as it was.
"""

from collections.abc import Collection
from typing import Any, Final

from torch import Tensor, nn

from ..definitions.prompt_numbers import layer_change
from ..model.structure import Anatomy
from .parts import LAYERS, Reading

_SLICE_BYTES: Final = 8 * 1024 * 1024
"""Of what is compared at once in float32."""
_COPY_BYTES: Final = 64 * 1024 * 1024
_CHANGED: Final = "the layers' outputs are changed before the step is over"


class PromptLayers:
    """Takes the layers' outputs of one prefill.

    Args:
        reading: what they are of.
        anatomy: of the model.
        selected: indices of the layers that are looked at.
    """

    def __init__(self, reading: Reading, anatomy: Anatomy, selected: Collection[int]) -> None:
        self._reading = reading
        self._anatomy = anatomy
        self._selected = selected
        self._before: tuple[int, Tensor, int | None] | None = None
        """Layer, its output, and the version of that."""
        self._real: dict[Any, Tensor] = {}
        self.seen: set[int] = set()
        self.changes: dict[int, Tensor] = {}
        """Layer -> the mean over positions [prompts]."""

    def take(self, module: nn.Module, output: Any) -> None:
        """Take a layer's output."""
        layer = self._anatomy.layer_of.get(id(module))
        if layer is None:
            return
        if layer in self.seen:
            self._reading.lose_several()
        self.seen.add(layer)
        hidden = output[0] if isinstance(output, tuple | list) else output
        if LAYERS in self._reading.absent:
            self.clear()
        elif not isinstance(hidden, Tensor) or hidden.ndim != 3:
            self._reading.lose("a layer's output is not [sequences, positions, width]", LAYERS)
        else:
            self._compare(layer, hidden)

    def _compare(self, layer: int, hidden: Tensor) -> None:
        every = self._reading.placed(hidden, LAYERS)
        before, self._before = self._before, None
        if every is None:
            return
        if before is not None and before[0] == layer - 1 and before[1].shape == hidden.shape:
            _, earlier, version = before
            if earlier.data_ptr() == hidden.data_ptr() or (version is not None and earlier._version != version):
                self._reading.lose(_CHANGED, LAYERS)
                return
            if layer in self._selected:
                self.changes[layer] = self._mean(earlier[::every], hidden[::every])
        if layer + 1 < len(self._anatomy.layers):
            self._before = self._kept(layer, hidden)

    def _kept(self, layer: int, hidden: Tensor) -> tuple[int, Tensor, int | None] | None:
        if not hidden.is_inference() and not self._anatomy.in_place:
            return layer, hidden, hidden._version
        if hidden.nbytes > _COPY_BYTES:
            self._reading.lose(_CHANGED, LAYERS)
            return None
        return layer, hidden.clone(), None

    def _mean(self, before: Tensor, after: Tensor) -> Tensor:
        real = self._real.get(after.device)
        if real is None:
            real = self._real[after.device] = self._reading.tokens.real(after.device)[:, self._reading.first :]
        rows, positions, width = after.shape
        step = max(1, _SLICE_BYTES // (4 * rows * width))
        parts = [slice(start, start + step) for start in range(0, positions, step)]
        with self._reading.launches(after.device) as launches:
            summed = None if launches is None else launches.layer_change(before, after, real)
        if summed is not None:
            return summed / real.sum(-1)
        if before.device != after.device:
            before = before.to(after.device)
        total = sum(layer_change(before[:, part], after[:, part], real[:, part]) for part in parts)
        assert isinstance(total, Tensor)
        return total / real.sum(-1)

    def clear(self) -> None:
        """Refer to nothing of the model's any more."""
        self._before = None
