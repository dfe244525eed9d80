"""What the case studies share: how a result is written, with where it comes from."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.overhead.place import commit
from opentelemetry_instrumentation_corevital.overhead.measured_place import environment


def write(result: dict[str, Any], file: Path) -> None:
    """Write and print a result, with the command, the commit and the machine."""
    place = environment(torch.device("cpu"))
    made = {**result, "command": shlex.join(["python", *sys.argv]), "commit": commit(), "environment": place}
    text = json.dumps(made, indent=2)
    file.write_text(text + "\n", encoding="utf-8")
    print(text)
