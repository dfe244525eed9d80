"""Whether the answer of a run was wrong: the one definition, for evaluation and calibration."""

from dataclasses import replace
from typing import TYPE_CHECKING

from .labels import CORRECT, OUTCOMES, LabelSource

if TYPE_CHECKING:
    from .filters import RunFilter
    from .listed_runs import ListedRuns
    from .stored_run import RunSummary


def is_wrong(run: "RunSummary", source: LabelSource = LabelSource.ANY) -> bool | None:
    """Return whether the answer of a run was wrong; None: its outcome is not known.

    The label `correct` or `incorrect` decides, since somebody looked at the answer; a label of another word is no
    outcome. Without one, an answer is wrong that does not have what its prompt set expects (`expected_found`).

    Args:
        run: of a list.
        source: what counts.
    """
    if source is not LabelSource.EXPECTED and run.label in OUTCOMES:
        return run.label != CORRECT
    if source is LabelSource.GIVEN or run.expected_found is None:
        return None
    return not run.expected_found


def known_outcomes(
    source: "ListedRuns", wanted: "RunFilter", labels: LabelSource = LabelSource.ANY, limit: int | None = None
) -> "list[tuple[RunSummary, bool]]":
    """Return the runs whose outcome is known, the newest first, each with whether its answer was wrong.

    Args:
        source: where they are.
        wanted: which runs.
        labels: what counts.
        limit: how many at most; None: all.
    """
    pages = source.in_pages(replace(wanted, outcome_known=labels), limit=limit)
    return [(run, wrong) for some in pages for run in some if (wrong := is_wrong(run, labels)) is not None]


def prompt_of(run: "RunSummary") -> str:
    """Return what tells the prompt of a run from others: its hash, else its id in the prompt set, else the run."""
    return run.prompt_hash or run.prompt_id or f"{run.trace_id}:{run.span_id}:{run.sequence_index}"
