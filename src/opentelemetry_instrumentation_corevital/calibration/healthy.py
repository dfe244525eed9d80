"""Which runs say what is usual, and why others do not."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import Final

import numpy as np

from ..assessment.ending import failed_by_numbers, was_in_loop
from ..baselines.profiled_signals import LAYER_SIGNALS, STEP_SIGNALS, WINDOW
from ..baselines.run_numbers import FEWEST_RUNS
from ..run import Run

FEWEST_TOKENS: Final = 2000
"""Below so many a profile is refused: its 0.1 % quantiles would be single tokens."""
FEWEST_STEPS: Final = WINDOW + 1
"""Below so many tokens a run has no whole window behind its first step, so that nothing says how far out it is."""

_READ: Final = frozenset(
    {
        *LAYER_SIGNALS,
        *STEP_SIGNALS,
        *("hidden_l2_norm", "attention_mass_prompt", "attention_mass_generated", "collapsed_head_rate"),
    }
)
"""Columns that profiles are made of."""


def is_finite(run: Run) -> bool:
    """Return whether nothing that was counted was NaN or infinite."""
    counts = (run.counts(name) for name in ("logits_nan", "logits_posinf", "hidden_nan", "hidden_inf"))
    return not any(values is not None and (np.nan_to_num(values) > 0).any() for values in counts)


def why_dropped(run: Run) -> str | None:
    """Return why a judged run is left out; None for a healthy one."""
    if run.error_type is not None or run.stop_reason == "error":
        return "error"
    if not is_finite(run) or failed_by_numbers(run):
        return "not finite"
    if was_in_loop(run) or (run.health is not None and run.health.repetition_loop_detected):
        return "loop"
    return "too short" if run.steps < FEWEST_STEPS else None


def without_the_rest(run: Run) -> Run:
    """Return a run with what profiles are made of, and nothing else: hundreds of them are kept."""
    columns = {name: values.copy() for name, values in run.columns.items() if name in _READ}
    return Run(
        run.model,
        run.decoding,
        run.start_ns,
        run.end_ns,
        input_tokens=run.input_tokens,
        tokens=run.tokens,
        columns=columns,
    )


@dataclass(slots=True)
class Tally:
    """What became of the runs that were tried.

    Attributes:
        kept: healthy ones.
        tokens: of these.
        longest: tokens of the longest of them.
        dropped: why others are left out -> how many.
    """

    kept: int = 0
    tokens: int = 0
    longest: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        """Return how many there were."""
        return self.kept + self.dropped.total()

    def keep(self, run: Run) -> None:
        """Count a healthy run."""
        self.kept += 1
        self.tokens += run.steps
        self.longest = max(self.longest, run.steps)

    def drop(self, reason: str) -> None:
        """Count a run that is left out."""
        self.dropped[reason] += 1

    def missing(self, runs: int = FEWEST_RUNS) -> int | None:
        """Return how many more have to be tried for so many healthy ones of enough tokens, if as many are dropped.

        None where nobody knows: none was healthy.
        """
        if not self.kept:
            return None
        for_tokens = ceil(max(0, FEWEST_TOKENS - self.tokens) * self.kept / self.tokens)
        return ceil(max(runs - self.kept, for_tokens, 0) * self.tried / self.kept)

    def told(self) -> str:
        """Return what was dropped, as text: the most frequent first."""
        return ", ".join(f"{reason} {count}" for reason, count in self.dropped.most_common()) or "none"
