"""What there is, as a table."""

from pathlib import Path
from statistics import median

from .store import AnswerRun, load, names


def by_task(runs: list[AnswerRun]) -> dict[tuple[str, str, str], list[AnswerRun]]:
    """Return answers by model, task and form."""
    found: dict[tuple[str, str, str], list[AnswerRun]] = {}
    for run in runs:
        found.setdefault((run.model, run.task, run.form), []).append(run)
    return found


def overview(folder: Path) -> str:
    """Return a line for each model, task and form: answers, share that is wrong, median length, share with samples."""
    lines = [f"{'model':9} {'task':13} {'form':10} {'count':>5} {'wrong':>6} {'length':>7} {'sampled':>8}"]
    runs = load(folder=folder) if names(folder) else []
    for (model, task, form), some in by_task(runs).items():
        wrong, length = sum(not run.right for run in some) / len(some), median(run.steps for run in some)
        sampled = sum(bool(run.samples) for run in some)
        lines.append(f"{model:9} {task:13} {form:10} {len(some):5} {wrong:6.2f} {length:7.1f} {sampled:8}")
    return "\n".join([*lines, f"{len(runs)} answers, {sum(not run.right for run in runs)} of them wrong"])
