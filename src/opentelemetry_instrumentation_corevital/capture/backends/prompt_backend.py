"""What makes the numbers of a prompt on a device: Triton's kernels, where they can be used."""

import contextlib
from collections.abc import Iterator

import torch

from ..prompt.parts import PromptKernels
from .kernel_availability import break_kernels, kernels_for


@contextlib.contextmanager
def prompt_kernels(device: torch.device) -> Iterator[PromptKernels | None]:
    """Yield what launches the kernels of a prompt; None where torch's own operations have to do.

    An error in between is taken as the kernels' fault: they are used no more on that device.
    """
    current = device.type != "cuda" or torch.cuda.current_device() == device.index
    if not current or kernels_for(device) is None:
        yield None
        return
    from .prompt_launches import PromptLaunches

    try:
        yield PromptLaunches()
    except Exception as error:
        break_kernels(device, error)
        raise
