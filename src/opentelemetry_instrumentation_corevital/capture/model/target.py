"""What is declared of modules inside the layers whose output is measured: the types that `targets` fills in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class FoundModule:
    """A module whose output is measured."""

    layer: int
    name: str
    """Its path in the layer; empty: the layer itself."""
    pick: Callable[[Any], Any]
    """What the module returns -> the output; None where it is not there."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured of one output per layer, [sequences x positions, D] or [sequences, positions, D], D at least 2.

    Only some models have such modules: the family in the catalogue is one of `some_models`.
    """

    family: str
    what: str
    """What the outputs are, for the reason where they are missing: "the routers' logits"."""
    find: Callable[[nn.Module, Sequence[nn.Module]], Sequence[FoundModule] | str]
    """Model and its decoder layers -> at most one module of each layer; none where the model has no such thing, the
    reason where it has but it cannot be told."""
    reduce: Callable[[Tensor], Mapping[str, Tensor]]
    """Outputs [layers, sequences, D] at the last position, as the model made them -> the family's numbers by their
    names in the definition, each float32 [layers, sequences]."""
