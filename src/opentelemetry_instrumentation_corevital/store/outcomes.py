"""Whether the answer of a run was wrong: the one definition, for evaluation and calibration."""

from typing import TYPE_CHECKING

from .labels import CORRECT, OUTCOMES, LabelSource

if TYPE_CHECKING:
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
