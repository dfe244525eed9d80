"""Where the figures come from: hardware, versions, the commit."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from opentelemetry_instrumentation_corevital.overhead import measured_place


def environment(device: torch.device, label: str | None) -> dict[str, Any]:
    """Say where the figures come from."""
    return {**measured_place.environment(device), "commit": label or commit(), "command": command(sys.argv)}


def command(arguments: Sequence[str]) -> str:
    """Return the command line, without where the results go: that is no part of what was measured."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--output":
            next(rest, None)
        elif not argument.startswith("--output="):
            kept.append(argument)
    return shlex.join(["python", *kept])


def commit() -> str | None:
    """Return the checkout's commit, with `-dirty` after it if files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
