"""What ended a run, as far as a verdict depends on it."""

from ..catalogue.verdicts import FLAG
from ..run import Run


def ended_itself(run: Run) -> bool:
    """Return whether the text said that it is over: by the end token, or by a stop string.

    Where only the conventions' word is known, `stop` is taken for that.
    """
    return run.stop_reason in ("eos", "stop_string") or (run.stop_reason is None and run.finish_reason == "stop")


def failed_by_numbers(run: Run) -> bool:
    """Return whether the run's health says that a number was NaN or infinite, from which the rest may follow."""
    return run.health is not None and bool(run.health.nan_detected or run.health.inf_detected)


def was_in_loop(run: Run) -> bool:
    """Return whether the run was in a loop at any step, whether it left it or not: then its risk so far says so."""
    so_far = None if run.early_warning is None else run.early_warning.risk_so_far
    return so_far is not None and bool((so_far >= FLAG["repetition_loop_detected"].weight).any())
