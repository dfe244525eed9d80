"""`corevital calibrate --labels`: a model's own answer risk, from runs whose outcome is known."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..baselines.answer_model import shipped
from ..baselines.lookup import own_profile
from ..baselines.profile import Identity, ProfileError
from ..calibration.answer_fit import FittedAnswer, fit_answer
from ..calibration.answer_profile import profile_there, put_answer
from ..calibration.forecasts import Quality
from ..store import RunFilter, open_store
from ..store.labels import LabelSource
from .calibration_report import OPTION
from .calibration_runs import many
from .labelled_runs import FoundLabels, labelled_runs
from .output import print_json
from .printing import console, echo


def calibrate_labels(
    place: str, wanted: RunFilter, labels: LabelSource, limit: int, *, out: Path | None, force: bool, as_json: bool
) -> None:
    """Fit, write where it is worth it, and say what was gained.

    Args:
        place: the store's file or URL.
        wanted: which runs.
        labels: what counts as a label.
        limit: how many runs at most, the newest.
        out: the profile's file; None: the model's in the profiles folder.
        force: whether it is written though it gained nothing.
        as_json: whether JSON is printed.

    Raises:
        UserError: for too few labels, and a profile that cannot be read or written.
    """
    with open_store(place) as source:
        found = labelled_runs(source, wanted, labels, limit, shipped())
        name = source.name
    runs = found.runs
    file = out or own_profile(Identity.of(runs.model))
    tokens = np.array(runs.tokens)
    try:
        before = profile_there(file, runs.model)
        fitted = fit_answer(runs.features(), np.array(runs.wrong), runs.prompts, tokens, shipped(), runs.tasks)
        if write := force or not fitted.worse:
            put_answer(file, runs.model, fitted.model, int(tokens[fitted.used].sum()))
    except ProfileError as error:
        raise UserError(str(error)) from None
    except ValueError as error:
        raise UserError(f"{name}: the labelled runs are too few: {error}; nothing is written.") from None
    if beyond := int((~fitted.used).sum()):
        found.dropped[f"longer than {fitted.model.most_tokens} tokens"] += beyond
    earlier = None if before is None or before.answer is None else before.answer.runs
    result = _result(found, fitted, name) | _written(file, write, earlier, found_by_name=out is None)
    if as_json:
        print_json(result)
    else:
        _tell(result)


def _result(found: FoundLabels, fitted: FittedAnswer, source: str) -> dict[str, Any]:
    """Return what was fitted, to what, and what it gained, as JSON."""
    used = [place for place, taken in enumerate(fitted.used) if taken]
    wrong = sum(found.runs.wrong[place] for place in used)
    tasks = {found.runs.tasks[place] for place in used} - {None}
    return {
        "model": Identity.of(found.runs.model).model_dump(mode="json"),
        "source": source,
        "runs": len(used),
        "correct": len(used) - wrong,
        "incorrect": wrong,
        "prompts": len({found.runs.prompts[place] for place in used}),
        "tasks": len(tasks),
        "left_out": dict(found.dropped.most_common()),
        "strength": fitted.strength,
        "answer": fitted.model.model_dump(mode="json"),
        "out_of_fold": {"shipped": _figures(fitted.shipped), "own": _figures(fitted.own)},
        "gain": _gain(fitted),
        "gain_interval": list(fitted.gain),
        "better": not fitted.worse,
    }


def _figures(quality: Quality) -> dict[str, float | None]:
    return {
        "auroc": quality.auroc,
        "auroc_by_task": quality.auroc_by_task,
        "ece": quality.ece,
        "brier": quality.brier,
    }


def _gain(fitted: FittedAnswer) -> float:
    """Return the gain that the interval is of."""
    if fitted.own.auroc_by_task is not None and fitted.shipped.auroc_by_task is not None:
        return fitted.own.auroc_by_task - fitted.shipped.auroc_by_task
    return fitted.own.auroc - fitted.shipped.auroc


def _written(file: Path, write: bool, earlier: int | None, *, found_by_name: bool) -> dict[str, Any]:
    """Return what became of the profile."""
    if not write:
        stays = "the shipped one stays" if earlier is None else f"the one of {earlier} labelled runs stays"
        return {"written": False, "file": str(file), "used": f"{stays}; --force writes this one all the same"}
    used = "runs of this model are judged with it from now on"
    if not found_by_name:
        used = f"runs are judged with it where {OPTION}={file.absolute()}"
    return {"written": True, "file": str(file), "used": used}


def _tell(result: dict[str, Any]) -> None:
    tasks = f" of {many(result['tasks'], 'experiment')}" if result["tasks"] > 1 else ""
    echo(
        f"{one_line(result['model']['name'], 60)}: {result['runs']} labelled runs{tasks}, {result['incorrect']} of "
        f"them incorrect, of {many(result['prompts'], 'prompt')} ({result['source']})"
    )
    echo(f"left out: {', '.join(f'{reason} {count}' for reason, count in result['left_out'].items()) or 'none'}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("out of fold", "shipped", "own"):
        table.add_column(column, justify="left" if column == "out of fold" else "right")
    scored = result["out_of_fold"]
    for label, name in _ROWS.items():
        if scored["own"][name] is not None:
            table.add_row(label, f"{scored['shipped'][name]:.3f}", f"{scored['own'][name]:.3f}")
    console().print(table)
    low, high = result["gain_interval"]
    of = "mean AUROC of the experiments" if scored["own"]["auroc_by_task"] is not None else "AUROC"
    echo(f"gain in {of}: {result['gain']:+.3f} (95 % interval {low:+.3f} to {high:+.3f}, by prompt)")
    echo(f"answers of up to {many(result['answer']['most_tokens'], 'token')} are judged")
    if not result["better"]:
        echo("it gained nothing on runs that it was not fitted on: more labels may help", err=True)
    echo(f"{result['file']}{'' if result['written'] else ' is as it was'}; {result['used']}")


_ROWS = {
    "AUROC": "auroc",
    "AUROC, mean of the experiments": "auroc_by_task",
    "calibration error (ECE)": "ece",
    "Brier score": "brier",
}
