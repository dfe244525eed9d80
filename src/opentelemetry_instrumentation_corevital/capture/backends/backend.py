"""What makes the rows of a call out of its steps, and which of the three it is."""

from typing import Protocol

import torch
from torch import Tensor

from ..collector.presence import Presence
from ..collector.step import Step
from ..row.host_transfer import Numbers, RowTransfer
from .batched_backend import BatchedBackend
from .kernel_availability import kernels_for
from .kernel_backend import KernelBackend
from .torch_backend import TorchBackend


class Backend(Protocol):
    """Step -> row. Each step passes twice, in order: when its logits are there, and when its tokens are chosen.

    It cannot pass once: processors may change the logits in place and run the model once more in between.
    """

    def measure(self, step: Step) -> None:
        """Take a step's logits and the internals, before anybody changes them; wait for nothing."""

    def row(self, step: Step) -> Tensor:
        """Return the row float32 [sequences, width] of that step, now completed; see `layout`."""

    def reorder(self, parents: Tensor) -> None:
        """Take note that the sequences go on in another order, between two steps.

        Args:
            parents: int64 [sequences], on the rows' device: which sequence of the last step each one of the next step
                goes on from.
        """

    def break_off(self) -> None:
        """Take note that the next step does not follow the last one."""

    def read(self, row: Tensor) -> Numbers:
        """Return the row made last on the host. Waits."""

    def finish(self) -> None:
        """See to it that every row is written, or will be when the device is through with its work."""

    def release(self) -> None:
        """Give back what the call has borrowed, when all rows have arrived."""


def backend_for(
    logits: Tensor, presence: Presence, transfer: RowTransfer, *, kernels: bool, at_once: bool = True
) -> Backend:
    """Return what makes the rows of a call.

    Args:
        logits: of its first step.
        presence: of the call.
        transfer: where the rows go.
        kernels: whether kernels may make them.
        at_once: whether somebody reads each row as soon as it has been pushed.
    """
    device = logits.device
    fused = kernels_for(device) if kernels and logits.dtype == torch.float32 and logits.stride(-1) == 1 else None
    if fused is not None:
        return KernelBackend(presence, transfer, fused(device, logits.shape[0], presence.layout.alternatives), device)
    if device.type == "cpu" and not at_once:
        return BatchedBackend(presence, transfer)
    return TorchBackend(presence)
