"""A step's layer outputs and module outputs reduced by torch's own operations, batched over layers."""

from collections.abc import Callable, Mapping
from itertools import groupby

import torch
from torch import Tensor

from ..definitions.hidden_states import cosine, hidden_statistics
from ..row.stacking import stacked


def reduce_hidden(layers: list[Tensor], device: torch.device) -> Tensor:
    """Return the numbers [layers, sequences, numbers] of hidden states; the first layer's transformation is NaN.

    `layers` are states [sequences, D] or [sequences, 1, D]. Neighbours on one device are reduced together, there.
    """
    numbers: list[Tensor] = []
    before: Tensor | None = None
    for _, group in groupby(layers, key=lambda layer: (layer.device, layer.shape)):
        alike = list(group)
        # Not stack, which makes a view of every layer first.
        states = torch.cat(alike).view(len(alike), len(alike[0]), -1).float()
        numbers.append(moved(reduce_states(states, before), device))
        before = states[-1]
    return numbers[0] if len(numbers) == 1 else torch.cat(numbers)


def reduce_outputs(
    family: str, outputs: list[Tensor], reduce: Callable[[Tensor], Mapping[str, Tensor]], device: torch.device
) -> Tensor:
    """Return a family's numbers [layers, sequences, numbers] of outputs of modules inside the layers.

    `outputs` are [sequences, D] or [sequences, 1, D]. Neighbours that are alike are reduced together, on their device.
    """
    numbers: list[Tensor] = []
    for _, group in groupby(outputs, key=lambda output: (output.device, output.dtype, output.shape)):
        alike = list(group)
        joined = torch.cat(alike).view(len(alike), len(alike[0]), -1)
        numbers.append(moved(stacked(family, reduce(joined)), device))
    return numbers[0] if len(numbers) == 1 else torch.cat(numbers)


def reduce_states(states: Tensor, before: Tensor | None = None) -> Tensor:
    """Return the numbers, as `reduce_hidden`, of float32 states [layers, sequences, D].

    Args:
        states: of neighbouring layers.
        before: [sequences, D], of the layer before the first of them.
    """
    if before is None or before.shape != states[0].shape:
        first = torch.full_like(states[0, :, 0], torch.nan)
    else:
        first = 1.0 - cosine(states[0], moved(before, states.device))
    inner = 1.0 - cosine(states[1:], states[:-1])
    return stacked("hidden", hidden_statistics(states) | {"layer_transformation": torch.cat((first[None], inner))})


def moved(numbers: Tensor, device: torch.device) -> Tensor:
    """Return numbers on a device, without a wait unless that is the host, where they are read at once."""
    return numbers.to(device, non_blocking=device.type != "cpu")


def flat(by_layer: Tensor) -> Tensor:
    """Return [layers, sequences, numbers] as [sequences, layers x numbers]."""
    return by_layer.transpose(0, 1).flatten(1)
