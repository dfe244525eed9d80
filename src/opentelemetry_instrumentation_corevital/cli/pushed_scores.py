"""What `corevital push` tells of a run: score, level and narrative, made from its row in the store; no content."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..semconv import HEALTH_FLAGS
from ..store import RunSummary

NAME: Final = "corevital.risk"
"""What the score is called, as in the log event of the verdict."""


@dataclass(frozen=True, slots=True)
class PushedScore:
    """The verdict on one run, and which span it is about."""

    trace_id: str
    span_id: str
    sequence_index: int
    score: float
    level: str
    explanation: str
    flags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """Return the run's name, as `corevital show` takes it."""
        return f"{self.trace_id[:12]}:{self.sequence_index}"

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what goes along as structured data."""
        return {"flags": list(self.flags), "warnings": list(self.warnings)}


class PushedBatch(NamedTuple):
    """What became of some verdicts."""

    sent: int
    missing: Sequence[PushedScore] = ()
    """Those whose spans are not there (yet)."""


def scores_of(runs: Iterable[RunSummary]) -> list[PushedScore]:
    """Return the verdicts of the runs whose risk was judged, in their order."""
    return [
        PushedScore(
            trace_id=run.trace_id,
            span_id=run.span_id,
            sequence_index=run.sequence_index,
            score=run.risk_score,
            level=run.risk_level,
            explanation=run.narrative or "",
            flags=tuple(flag for flag in HEALTH_FLAGS if getattr(run, flag)),
            warnings=run.warnings or (),
        )
        for run in runs
        if run.risk_score is not None and run.risk_level is not None
    ]
