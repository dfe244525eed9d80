"""What the case studies share: how a result is written, with where it comes from."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.overhead.place import commit
from opentelemetry_instrumentation_corevital.overhead.measured_place import environment


def command(arguments: Sequence[str]) -> str:
    """Return the command line, without where runs were stored: that is no part of what was measured."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in ("--store", "--stores"):
            next(rest, None)
        else:
            kept.append(argument)
    return shlex.join(["python", *kept])


def write(result: dict[str, Any], file: Path) -> None:
    """Write and print a result, with the command, the commit and the machine."""
    place = environment(torch.device("cpu"))
    made = {**result, "command": command(sys.argv), "commit": commit(), "environment": place}
    text = json.dumps(made, indent=2)
    file.write_text(text + "\n", encoding="utf-8")
    print(text)
