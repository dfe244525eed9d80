"""What the last token of a prompt attends to, layer by layer, as the attention comes by."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.plan import ReportedAttention
from ..attention.scores import SLICE_BYTES, Attended, Scores, from_query, of_sequences, softmax_inputs, untold
from ..definitions.prompt_numbers import PromptKeys, basin_score, connections, prompt_keys, weights_of
from .parts import BASIN, CONNECTIONS, OTHERS, Reading

LayerAttention = tuple[Tensor, Tensor | None, Tensor | None]
"""Basin score [prompts, H]; index and weight of the connections [prompts, H, 8]."""


class PromptAttention:
    """Takes the attention of one prefill.

    Args:
        reading: what it is of.
        layers: id of an attention module -> its layer, of those that are looked at.
        full: whether connections are kept.
    """

    def __init__(self, reading: Reading, layers: Mapping[int, int], *, full: bool) -> None:
        self.projections: dict[int, Tensor] = {}
        """id of a projection -> its output, until its attention module is through."""
        self.found: dict[int, LayerAttention | None] = {}
        """Layer -> what was found; None where several modules answered for it."""
        self.unknown: str | None = None
        """Why some attention could not be told, if so."""
        self._reading = reading
        self._layers = layers
        self._full = full
        self._modules: dict[int, int] = {}
        self._keys: dict[Any, PromptKeys] = {}

    def take(self, report: ReportedAttention) -> None:
        """Take what an attention function got."""
        module, _, _, _, arguments, implementation = report
        if id(module) not in self._layers:
            return
        why = untold(implementation, arguments)
        if why is None:
            self.on_scores(module, lambda: from_query(*report))
        else:
            self.on_unknown(why)

    def on_scores(self, module: nn.Module, scores: Callable[[], Scores | Attended]) -> None:
        """Take an attention module's scores, made only if they are wanted."""
        layer = self._layers.get(id(module))
        if layer is None or BASIN in self._reading.absent:
            return
        other = self._modules.setdefault(layer, id(module)) != id(module)
        if layer in self.found and not other:
            self._reading.lose_several()
            return
        self.found[layer] = None if other else self._read(scores())

    def on_unknown(self, reason: str) -> None:
        """Take note of an attention whose scores cannot be told."""
        self.unknown = reason

    def _read(self, taken: Scores | Attended) -> LayerAttention | None:
        of_heads = taken.query if isinstance(taken, Attended) else taken.values
        keys = (taken.key if isinstance(taken, Attended) else taken.values).shape[2]
        every = self._reading.tokens.every(len(of_heads))
        if every is None or (self._reading.tokens.encoded and keys != self._reading.tokens.columns):
            self._reading.lose(OTHERS, BASIN, CONNECTIONS)
            return None
        if every > 1:
            taken = of_sequences(taken, slice(None, None, every))
        prompts = self._prompt_keys(keys, of_heads.device)
        if isinstance(taken, Attended):
            with self._reading.launches(of_heads.device) as launches:
                found = None if launches is None else launches.attention(taken, prompts, full=self._full)
            if found is not None:
                return found
            taken = taken.multiplied()
        step = max(1, SLICE_BYTES // (of_heads.shape[1] * keys * 4))
        parts = [slice(start, start + step) for start in range(0, len(taken.values), step)]
        numbers = [self._numbers(of_sequences(taken, part), PromptKeys(*(e[part] for e in prompts))) for part in parts]
        basin, index, weight = zip(*numbers, strict=True)
        if not self._full:
            return torch.cat(basin), None, None
        return torch.cat(basin), torch.cat(index), torch.cat(weight)

    def _numbers(self, taken: Scores, keys: PromptKeys) -> tuple[Any, Any, Any]:
        weights = weights_of(softmax_inputs(taken.values, taken), taken.visible, taken.learned_sink)
        basin = basin_score(weights, taken.visible, keys)
        return (basin, *connections(weights, taken.visible, keys)) if self._full else (basin, None, None)

    def _prompt_keys(self, keys: int, device: torch.device) -> PromptKeys:
        known = self._keys.get((keys, device))
        if known is None:
            known = self._keys[keys, device] = prompt_keys(self._reading.tokens.real(device), keys)
        return known

    def clear(self) -> None:
        """Refer to nothing of the model's any more."""
        self.projections.clear()
        self._keys.clear()
