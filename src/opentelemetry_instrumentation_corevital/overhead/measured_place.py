"""Where figures come from: hardware and versions."""

import contextlib
import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ..version import __version__


def environment(device: Any) -> dict[str, Any]:
    """Say where the figures come from; `device` is a `torch.device`."""
    import numpy
    import torch
    import transformers

    return {
        "corevital": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "triton": version("triton"),
        "opentelemetry_sdk": version("opentelemetry-sdk"),
        "otlp_exporter": version("opentelemetry-exporter-otlp-proto-http"),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def version(package: str) -> str | None:
    """Return an installed package's version."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Return the processor's name and machine type."""
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return f"{found[1].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


def compiled_graphs() -> int:
    """Return how many graphs torch.compile has made in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def use_threads(count: int) -> None:
    """Let torch compute with so many threads on the CPU; without torch there is nothing to compute with."""
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(count)
