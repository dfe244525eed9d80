"""Pinned host memory that kernels read and write themselves.

A copy by the driver would cost the host more than the kernel that can do it on the way. But the allocator of pinned
memory does not know of kernels: it would give away what one of them still uses. So blocks are kept here for good, lent
for one call, and lent again only after the borrower has seen the device be done with them.
"""

import threading

import torch
from torch import Tensor

from ..._internal.forks import held_by_forks

_lock = held_by_forks(threading.Lock())
_free: list[Tensor] = []
_lent: dict[int, Tensor] = {}
"""By address. What is never given back, because its call failed, stays here."""


def borrow(size: int) -> Tensor:
    """Return pinned memory of at least so many bytes, uint8."""
    with _lock:
        fitting = [block for block in _free if block.numel() >= size]
        block = min(fitting, key=Tensor.numel, default=None)
        if block is None:
            _free.clear()  # too small for what is generated now
            block = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        else:
            _free[:] = [other for other in _free if other is not block]
        _lent[block.data_ptr()] = block
        return block


def give_back(block: Tensor) -> None:
    """Take a block back that the device has no more work with."""
    with _lock:
        _lent.pop(block.data_ptr(), None)
        _free.append(block)
