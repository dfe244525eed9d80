"""Launching a Triton kernel at a fraction of what Triton's own launch costs on the host.

Triton looks at every argument of every launch to find the variant compiled for it: some twenty microseconds. Here the
caller names what the variant depends on, and a launch that names the same again goes straight to the compiled kernel.
"""

from collections.abc import Hashable
from typing import Any, Final

import torch
import triton

_DIRECT: Final = tuple(int(part) for part in triton.__version__.split(".")[:2]) >= (3, 3)
"""Before Triton 3.3 a compiled kernel takes other arguments than the function that it was compiled from."""


class Launcher:
    """Launches one kernel.

    Args:
        kernel: a `triton.jit` function.
        warps: of a program.
    """

    def __init__(self, kernel: Any, warps: int = 4) -> None:
        self._kernel = kernel
        self._warps = warps
        self._compiled: dict[Hashable, Any] = {}

    def __call__(self, variant: Hashable, grid: tuple[int, int, int], *args: Any) -> None:
        """Launch on the current device and stream.

        Args:
            variant: what is equal for two launches only if one compiled kernel serves both: the device, dtypes and
                16-byte alignment of tensors, the constexpr arguments, and every integer that is specialised (whether
                it is 1, whether 16 divides it).
            grid: programs.
            args: of the kernel, in order, its constexpr ones included.
        """
        compiled = self._compiled.get(variant)
        if compiled is not None:
            # What `compiled[grid](*args)` does, without looking up the device and the profiler's hooks.
            stream = torch._C._cuda_getCurrentRawStream(torch._C._cuda_getDevice())
            compiled.run(*grid, stream, compiled.function, compiled.packed_metadata, None, None, None, *args)
            return
        compiled = self._kernel[grid](*args, num_warps=self._warps)
        if _DIRECT and compiled is not None:  # the interpreter compiles nothing
            self._compiled[variant] = compiled
