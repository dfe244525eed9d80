"""Which runs need a review: what is judged so from a run's row, and the same as SQL over indexed columns."""

from typing import Final

from .filters import FLAGS
from .stored_run import RunSummary


def needs_review(run: RunSummary) -> bool:
    """Return whether a run is of level high, has a flag, or was ended by an error."""
    return run.risk_level == "high" or run.stop_reason == "error" or bool(run.flags)


NEEDS_REVIEW: Final = (
    f"(risk_level = 'high' OR stop_reason = 'error' OR {' OR '.join(f'{flag} = 1' for flag in FLAGS)})"
)
"""The same as SQL."""
