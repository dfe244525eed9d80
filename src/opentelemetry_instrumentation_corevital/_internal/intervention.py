"""What a policy did to a run: part of `run.py`, where users find it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .short_repr import short_repr

InterventionKind = Literal["stop", "cool_down", "roll_back", "break_reasoning", "retry"]
InterventionOutcome = Literal["stopped", "continued", "failed"]
"""`stopped`: it ended the sequence. `continued`: generation went on, changed. `failed`: it could not be carried out."""
RollbackMode = Literal["crop", "prefill"]
"""How the cache was cut back: in place, or by computing it again from the tokens that were kept."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """What a policy did to a run while it went on."""

    kind: InterventionKind
    trigger: str
    """What it acted on: a flag or warning by its name in the catalogue, `risk>0.9`, `callback` or a function's name."""
    step: int
    """The step at which it acted, from the numbers of the step before."""
    outcome: InterventionOutcome
    time_ns: int
    """Unix time."""
    tokens_left: int | None = None
    """The limit minus what was generated then; None where there is no limit."""
    rollback_mode: RollbackMode | None = None
    to_step: int | None = None
    """Of a rollback: the tokens before this step were kept."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """The numbers of its trigger, and what was changed."""
    __repr__ = short_repr
