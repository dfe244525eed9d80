"""`corevital baseline drift`: whether models have left what was usual for them, and since when."""

import time
from collections.abc import Iterable
from typing import Final

import typer

from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..assessment.drift import LIMIT
from ..store import RunFilter, open_store
from ..store.model_drift import FEWEST_RUNS, ChangedSetting, ChangedSignal, ModelDrift, models_drift
from .options import AsJson, Database, Model, OfService, Since, database, read_from, since_ns, with_stored_model
from .output import print_json
from .printing import echo, error_console

DRIFTED: Final = 5
"""Exit code where a model has drifted."""
_ID: Final = 12
_MOST_NAME: Final = 60


def drift(
    db: Database = None,
    model: Model = None,
    since: Since = None,
    service: OfService = None,
    as_json: AsJson = False,
) -> None:
    """Say of each model whether its newest runs have left what was usual, since when and in which signals.

    Exit code 5 where one has. After a change that you made, --since the time of the change.

    Example: corevital baseline drift --since 30d
    """
    wanted = RunFilter(model=model, since_ns=since_ns(since), service=service)
    with open_store(database(db)) as store:
        wanted = with_stored_model(store, wanted)
        found = models_drift(store, wanted)
    if not found and model is not None:
        raise UserError(f"--model {model}: no run of it meets the conditions; `corevital runs` lists all.")
    if as_json:
        print_json({"models": [each.as_dict() for each in found]})
    else:
        for each in found:
            echo(drift_line(each))
        if not found:
            echo("No run matches.")
        error_console().print(read_from(db), soft_wrap=True)
    if any(each.verdict == "drift" for each in found):
        raise typer.Exit(DRIFTED)


def drift_line(found: ModelDrift) -> str:
    """Return one line about a model."""
    name = one_line(found.model or "", _MOST_NAME)
    if found.verdict == "too_few_runs":
        return f"{name}: too few runs to tell: {found.runs} of the {FEWEST_RUNS} that it takes"
    if found.verdict == "none":
        said = f"{name}: no drift in {found.runs} runs"
        return f"{said}; but {_since(found.prompts[0])} {_changes(found.prompts)}" if found.prompts else said
    parts = [f"{name}: drift {_since(found.signals[0])} {_changes(found.signals)}"]
    if found.prompts:
        parts.append(f"the prompts changed, too ({_changes(found.prompts)})")
    if found.settings:
        parts.append(f"with it {', '.join(map(_setting, found.settings))}")
    return "; ".join(parts)


def _since(changed: ChangedSignal) -> str:
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(changed.run.start_ns / 1e9))
    run, score = one_line(changed.run.trace_id[:_ID], _ID), abs(changed.change.score)
    return f"since {started} (run {run}; score {score:.1f}, limit {LIMIT:.2f}):"


def _changes(changed: Iterable[ChangedSignal]) -> str:
    return ", ".join(map(_change, changed))


def _change(changed: ChangedSignal) -> str:
    signal, change = changed.signal, changed.change
    if signal.flag:
        return f"{signal.title} in {change.before:.0%} -> {change.after:.0%} of the runs"
    digits = 0 if signal.name.endswith("_tokens") else 2 if max(abs(change.before), abs(change.after)) >= 0.1 else 3
    unit = f" {signal.unit}" if signal.unit else ""
    return f"{signal.title} {change.before:.{digits}f} -> {change.after:.{digits}f}{unit}"


def _setting(changed: ChangedSetting) -> str:
    before, after = (one_line(value or "none", _MOST_NAME) for value in (changed.before, changed.after))
    return f"{changed.name} {before} -> {after}"
