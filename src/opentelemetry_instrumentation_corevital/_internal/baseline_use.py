"""What a run was judged with: part of `run.py`, where users find it."""

from dataclasses import dataclass
from typing import Literal

BaselineSource = Literal["packaged", "calibrated", "learned", "none"]
"""Where what is usual for a model comes from: the package, `corevital calibrate`, its served runs, or nowhere."""


@dataclass(frozen=True, slots=True)
class BaselineUse:
    """What a run was judged with, as it stood before the run."""

    source: BaselineSource
    runs: int | None = None
    tokens: int | None = None
    """That it was made of; None without one."""
