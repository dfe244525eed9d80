"""Numbers by name, put in the order in which the row has them."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from ...catalogue import signals
from ...catalogue.signal import Shape


def stacked(family: str, numbers: Mapping[str, Tensor], shape: Shape = "layer") -> Tensor:
    """Return a family's numbers as a last dimension, see `ordered`."""
    return torch.stack(ordered(family, numbers, shape), dim=-1)


def ordered(family: str, numbers: Mapping[str, Tensor], shape: Shape = "layer") -> list[Tensor]:
    """Return a family's numbers in the order of the row.

    Args:
        family: of the signals.
        numbers: the definition's name for each -> its numbers [...], all of one shape; there may be more of them.
        shape: of the signals, see `Signal`.

    Raises:
        KeyError: if one of the family's signals is not among the numbers.
    """
    return [numbers[name] for name in _measured(family, shape)]


@cache
def _measured(family: str, shape: Shape) -> tuple[str, ...]:
    return tuple(each.measured_as for each in signals.of_family(family, shape))
