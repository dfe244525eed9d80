"""The most memory that a call had: on the device, and of this process."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_PROCESS: Final = Path("/proc/self")
_FORGET_PEAK: Final = "5"
"""What Linux takes for: the peak of the resident memory is what it is now."""


class PeakMemory:
    """The peak since this was made.

    Args:
        device: a `torch.device`.
    """

    def __init__(self, device: Any) -> None:
        import torch

        self._device = device
        self._begun = False
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with suppress(OSError):  # another system, or one that forbids it
            (_PROCESS / "clear_refs").write_text(_FORGET_PEAK, encoding="ascii")
            self._begun = True

    def of_device(self) -> int:
        """Return the bytes that torch had allocated on a CUDA device; 0 for another one."""
        import torch

        return int(torch.cuda.max_memory_allocated(self._device)) if self._device.type == "cuda" else 0

    def of_process(self) -> int:
        """Return the bytes of this process's resident memory; 0 where the system does not tell."""
        if self._begun:
            with suppress(OSError):
                told = (_PROCESS / "status").read_text(encoding="ascii", errors="replace")
                found = re.search(r"^VmHWM:\s+(\d+) kB$", told, re.MULTILINE)
                return int(found[1]) * 1024 if found else 0
        return 0
