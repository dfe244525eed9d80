"""Whether the fused kernels can be used on a device: they need CUDA, Triton and what Triton needs."""

import functools
import logging
import os
from typing import TYPE_CHECKING

import torch

from ..._internal.error_text import describe

if TYPE_CHECKING:
    from .kernel_launches import Fused

logger = logging.getLogger(__name__)

_broken: set[torch.device] = set()


def kernels_for(device: torch.device) -> "type[Fused] | None":
    """Return the class whose objects launch the kernels on a device; None where torch's operations have to do."""
    return None if device in _broken else _kernels_for(device)


@functools.cache
def _kernels_for(device: torch.device) -> "type[Fused] | None":
    interpreted = device.type == "cpu" and bool(os.environ.get("TRITON_INTERPRET"))
    if not interpreted and (device.type != "cuda" or torch.version.hip is not None):
        return None
    try:
        from .kernel_launches import Fused
        from .kernels import UNWRITTEN
    except ImportError:
        return None
    return None if UNWRITTEN else Fused  # torch computes every signal


def break_kernels(device: torch.device, error: Exception) -> None:
    """Use the kernels no more on a device on which they have failed, and say so once."""
    if device not in _broken:
        _broken.add(device)
        logger.warning(
            "CoreVital: the Triton kernels do not run on %s (%s). From the next run on numbers are computed by "
            "torch's own operations there: they are the same and cost more.",
            device,
            describe(error),
        )
