"""Which of a call's sequences its span speaks of."""

from collections.abc import Sequence

from .._internal.values import number
from ..run import Run


def worst_of(runs: Sequence[Run]) -> Run | None:
    """Return the run with the highest risk, of equal ones the first; None where none was judged."""
    scores = [(score, run) for run in runs if run.risk and (score := number(run.risk.score)) is not None]
    return max(scores, key=lambda each: each[0])[1] if scores else None
