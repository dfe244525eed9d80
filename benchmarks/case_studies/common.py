"""What the case studies share: where a result comes from, and how it is written."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from opentelemetry_instrumentation_corevital.overhead.measured_place import environment


def commit() -> str | None:
    """Return the checkout's commit, with `-dirty` after it if files differ from it; None outside a checkout."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def write(result: dict[str, Any], file: Path) -> None:
    """Write and print a result, with the command, the commit and the machine."""
    place = environment(torch.device("cpu"))
    command = shlex.join(["python", *(os.path.relpath(part) if Path(part).is_file() else part for part in sys.argv)])
    text = json.dumps({**result, "command": command, "commit": commit(), "environment": place}, indent=2)
    file.write_text(text + "\n", encoding="utf-8")
    print(text)
