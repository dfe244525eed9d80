"""Reads what the prefill of one call tells of its prompts: nothing is computed by the model for it, and nobody waits.

What it takes is on the way to the model's own logits of the first step. The numbers stay on the device until the call
is over.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..._internal.prompt_analysis import CONNECTIONS as KEPT
from ..._internal.prompt_analysis import PromptAnalysis, PromptConnections
from ..._internal.safety import report_internal_error
from ..model.structure import Anatomy
from .attention import PromptAttention
from .call_prompts import CallPrompts
from .layers import PromptLayers
from .parts import BASIN, CONNECTIONS, LAYERS, PARTS, SURPRISAL, Launches, Reading
from .surprisal import PromptSurprisal

Array = NDArray[Any]

_BY_ENCODER = "an encoder reads the prompt"
_UNREAD = "the step at which the call failed could not be read from the device"
_SHORT = "the prompt is too short"


class PromptReader:
    """Takes one prefill; belongs to the thread of its call.

    Args:
        model: that generates; not kept alive.
        anatomy: of it.
        tokens: the call's prompts, or why they are not known.
        selected: indices of the layers that are looked at.
        full: whether the largest attention weights are kept.
        launches: what may make the numbers; see `Reading`.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        tokens: CallPrompts | str,
        selected: Iterable[int],
        *,
        full: bool,
        launches: Launches,
    ) -> None:
        known = CallPrompts(1, 0, None, None, False, False) if isinstance(tokens, str) else tokens
        chosen = frozenset(selected)
        kind = "cross" if known.encoded else "self"
        self._reading = Reading(known, launches)
        self._layer_count = len(anatomy.layers)
        self._full = full
        self._layers = PromptLayers(self._reading, anatomy, chosen)
        self._surprisal = PromptSurprisal(self._reading, model)
        modules = {id_: at.layer for id_, at in anatomy.attention_of.items() if at.kind == kind and at.layer in chosen}
        self.attention = PromptAttention(self._reading, modules, full=full)
        """Takes attention; hooks that compute scores themselves report to it, too."""
        self._complete = False
        if isinstance(tokens, str):
            self._reading.lose(tokens)
        if known.encoded:
            self._reading.lose(_BY_ENCODER, SURPRISAL, LAYERS)

    # --- while the model runs: each as a hook calls it, and an error of ours loses the prompt alone -----------------

    def take_layer(self, module: nn.Module, output: Any) -> None:
        """Take a layer's output."""
        self._safely(self._layers.take, module, output)

    def take_last(self, output: Any) -> None:
        """Take the output of the module below the output head."""
        self._safely(self._surprisal.take, output)

    def take_attention(self, report: Any) -> None:
        """Take what an attention function got."""
        self._safely(self.attention.take, report)

    def _safely(self, take: Callable[..., None], *report: Any) -> None:
        try:
            with torch.no_grad():
                take(*report)
        except Exception as error:  # also one of too little memory on the device
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Give up after an error of our own."""
        self._reading.absent.clear()
        self._reading.lose(f"internal error ({type(error).__name__})")
        self.clear()
        report_internal_error("capture.prompt", error)

    def lose(self, reason: str) -> None:
        """Declare all that has no reason yet absent, unless the prefill is over."""
        if not self._complete:
            self._reading.lose(reason)
            self.clear()

    def complete(self, logits: Tensor | None, why_unseen: Callable[[], str]) -> None:
        """Take the model's own logits [rows, V] when the prefill is over; takes nothing more after that."""
        if self._complete:
            return
        self._complete = True
        if not self._layers.seen:
            made = () if self._surprisal.values is None else (SURPRISAL,)  # also where layers are in a compiled graph
            self._reading.lose(why_unseen(), *(part for part in PARTS if part not in made))
        if logits is not None:
            self._safely(self._surprisal.check, logits)
        self.clear()

    def clear(self) -> None:
        """Refer to nothing of the model's any more."""
        self._layers.clear()
        self._surprisal.clear()
        self.attention.clear()

    # --- after the call ---------------------------------------------------------------------------------------------

    def analyses(self, why_incomplete: str, *, failed: bool) -> list[PromptAnalysis]:
        """Return what was read, of each prompt; waits for the device.

        Args:
            why_incomplete: why the prefill was not seen to its end, if it was not.
            failed: whether the call raised: on CUDA its device may not answer any more.
        """
        if not self._complete:
            self.lose(why_incomplete)
        try:
            return self._analyses()
        except Exception as error:
            if failed and isinstance(error, RuntimeError):
                self._reading.lose(_UNREAD)
            else:
                self.fail(error)
            return [PromptAnalysis(absent=dict(self._reading.absent))] * self._reading.tokens.prompts

    def _analyses(self) -> list[PromptAnalysis]:
        self._decide()
        reading, tokens = self._reading, self._reading.tokens
        nothing: list[Any] = [None] * tokens.prompts
        absent = dict(reading.absent)
        surprisals = nothing if SURPRISAL in absent else list(_host(self._surprisal.values))
        changes = nothing if LAYERS in absent else list(self._by_layer(self._layers.changes))
        basins = connected = nothing
        if BASIN not in absent:
            found = {layer: each for layer, each in self.attention.found.items() if each is not None}
            basins = list(self._by_head({layer: each[0] for layer, each in found.items()}, np.nan))
            if CONNECTIONS not in absent:
                index = self._by_head({layer: each[1] for layer, each in found.items()}, -1)
                weight = self._by_head({layer: each[2] for layer, each in found.items()}, np.nan)
                connected = [PromptConnections(i.astype(np.int32), w) for i, w in zip(index, weight, strict=True)]
        real = _host(tokens.real(torch.device("cpu") if tokens.mask is None else tokens.mask.device))
        return [
            self._analysis(real[row], surprisals[row], changes[row], basins[row], connected[row], absent)
            for row in range(tokens.prompts)
        ]

    def _decide(self) -> None:
        """Name what else is missing."""
        reading = self._reading
        if not self._full:
            reading.absent[CONNECTIONS] = "switched off (prompt_analysis=summary)"
        if SURPRISAL not in reading.absent:
            self._surprisal.settle()
        if not self._layers.changes:
            reading.lose("no neighbouring layers were seen", LAYERS)
        if not any(self.attention.found.values()):
            unseen = "no attention was seen in the prefill"
            reading.lose(self.attention.unknown or unseen, BASIN, CONNECTIONS)

    def _analysis(
        self, real: Array, surprisal: Array | None, change: Array | None, basin: Array | None, kept: Any, absent: Any
    ) -> PromptAnalysis:
        """Return the analysis of one prompt; `real` [C] says which of its columns are no padding."""
        first, absent = self._reading.first or 0, dict(absent)
        before = int(real[:first].sum())
        if surprisal is not None:
            surprisal = surprisal[real[first:][1:]]  # of tokens that are no padding
            if not real[first]:
                surprisal = surprisal[1:]  # of the first of them nothing was said before
        if basin is not None and real.sum() < 3:
            basin, absent[BASIN] = None, _SHORT
        return PromptAnalysis.of(
            surprisal, layer_transformation=change, basin=basin, connections=kept, first=before, absent=absent
        )

    def _by_layer(self, of: dict[int, Tensor]) -> Array:
        """Return numbers of layers as float32 [prompts, L], NaN for those that are not there."""
        found = np.full((self._reading.tokens.prompts, self._layer_count), np.nan, np.float32)
        for layer, values in zip(of, _host_all(list(of.values())), strict=True):
            found[:, layer] = values
        return found

    def _by_head(self, of: dict[int, Any], missing: float) -> Array:
        """Return numbers of heads as float32 [prompts, L, H, ...]; `missing` for those that are not there."""
        values = _host_all(list(of.values()))
        heads = max(each.shape[1] for each in values)
        shape = (self._reading.tokens.prompts, self._layer_count, heads, *((KEPT,) if values[0].ndim == 3 else ()))
        found = np.full(shape, missing, np.float32)
        for layer, each in zip(of, values, strict=True):
            found[:, layer, : each.shape[1]] = each
        return found


def _host(tensor: Tensor | None) -> Array:
    assert tensor is not None
    return tensor.cpu().numpy()


def _host_all(tensors: list[Tensor]) -> list[Array]:
    """Return tensors on the host, in one copy where they are alike."""
    if len({(each.shape, each.device) for each in tensors}) == 1:
        return list(_host(torch.stack(tensors)))
    return [_host(each) for each in tensors]
