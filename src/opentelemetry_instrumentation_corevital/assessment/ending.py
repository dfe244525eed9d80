"""What ended a run, as far as a verdict depends on it."""

from ..run import Run


def ended_itself(run: Run) -> bool:
    """Return whether the text said that it is over: by the end token, or by a stop string.

    Where only the conventions' word is known, `stop` is taken for that.
    """
    return run.stop_reason in ("eos", "stop_string") or (run.stop_reason is None and run.finish_reason == "stop")


def failed_by_numbers(run: Run) -> bool:
    """Return whether the run's health says that a number was NaN or infinite, from which the rest may follow."""
    return run.health is not None and bool(run.health.nan_detected or run.health.inf_detected)
