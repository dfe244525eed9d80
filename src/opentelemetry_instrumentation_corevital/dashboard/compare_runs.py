"""Runs beside each other, as the tables and charts of a page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..catalogue.spelling import for_people
from ..presentation.pages.page_formats import NOTHING, number
from ..presentation.timeline import Line, lines, thinned
from ..store.run_differences import RUN_FIELDS, Parting, difference_text, parting, same_prompt, value_text
from ..store.stored_run import StoredRun
from .addresses import run_path
from .named_runs import run_key

LETTERS: Final = "ABCD"
FEWEST_RUNS: Final = 2
MOST_RUNS: Final = len(LETTERS)
_MOST_POINTS: Final = 1000
_MOST_ROWS: Final = 200
_SIGNALS: Final = ("entropy", "surprisal", "margin", "top1_prob", "risk_so_far", "answer_so_far")


@dataclass(frozen=True, slots=True)
class RunHead:
    """What stands above a run's column."""

    letter: str
    key: str
    path: str
    run: Any
    """Its row."""
    flags: Sequence[str]
    without: Sequence[str]
    """The other runs: what is left when this one is taken away."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A fact in which runs differ."""

    name: str
    values: Sequence[tuple[str, str]]
    """Of each run: its value, and how much more it is than the first run's."""


@dataclass(frozen=True, slots=True)
class RunsView:
    """All that the page shows of some runs."""

    heads: Sequence[RunHead]
    differing: Sequence[FieldRow]
    alike: Sequence[tuple[str, str]]
    """Facts that all have in common."""
    parting: Parting | None
    parted: str
    """Where they part, in a sentence."""
    prompts: str | None
    """What is to be said of their prompts; None: they have the same."""
    charts: Sequence[dict[str, Any]]


def runs_view(runs: Sequence[StoredRun]) -> RunsView:
    """Return what the page shows of two to four runs."""
    keys = [run_key(run.summary) for run in runs]
    rows = [(field, [field.of(run) for run in runs]) for field in RUN_FIELDS]
    found = parting(runs)
    same = same_prompt(runs)
    return RunsView(
        [
            RunHead(
                LETTERS[place],
                keys[place],
                run_path(run.summary),
                run.summary,
                [for_people(flag) for flag in run.summary.flags],
                [key for other, key in enumerate(keys) if other != place],
            )
            for place, run in enumerate(runs)
        ],
        [
            FieldRow(
                field.name,
                [
                    (value_text(field, value), difference_text(field, values[0], value) if value != values[0] else "")
                    for value in values
                ],
            )
            for field, values in rows
            if any(value != values[0] for value in values[1:]) and field.name != "narrative"
        ],
        [
            (field.name, value_text(field, values[0]))
            for field, values in rows
            if values[0] is not None and all(value == values[0] for value in values[1:])
        ],
        found,
        _parted(found, runs),
        None if same else "Their prompts differ." if same is False else "It is not known whether their prompts differ.",
        _charts(runs, found),
    )


def _parted(found: Parting | None, runs: Sequence[StoredRun]) -> str:
    """Return where runs part, and what tells it."""
    if found is None:
        if len({run.summary.model for run in runs}) > 1:
            return "Where their answers part is not known: they are of different models, and their text is not stored."
        return "Where they part is not known: not all of them have their steps stored."
    return {"tokens": _by_tokens, "text": _by_text, "entropy": _by_entropy}[found.basis](found)


def _by_tokens(found: Parting) -> str:
    if found.step is None:
        return f"They have all {number(found.alike)} tokens in common."
    return f"They part at step {number(found.step)}, by their tokens."


def _by_text(found: Parting) -> str:
    if not found.parted:
        return "Their answers are the same text."
    return f"Their answers part behind {number(found.alike)} characters."


def _by_entropy(found: Parting) -> str:
    if found.step is None:
        said = f"They are alike over all {number(found.alike)} steps."
    elif not found.alike:
        said = "They differ before the first token: by another prompt or another state of the model."
    elif found.step < found.alike:
        said = f"They part at step {number(found.step)}: behind it the entropies differ."
    else:
        said = f"They are alike until one ends, at step {number(found.step)}."
    return f"{said} Token ids are not stored, so this is by the entropy of each step."


# --- charts ------------------------------------------------------------------------------------------------------


def _charts(runs: Sequence[StoredRun], found: Parting | None) -> list[dict[str, Any]]:
    """Return a chart for each signal that two runs or more have, their steps above each other."""
    of_runs = [{line.signal: line for line in lines(_readable(run))} for run in runs]
    marks = [{"at": found.step, "name": "they part"}] if found is not None and found.step is not None else []
    last = max((line.steps[-1] for signals in of_runs for line in signals.values() if line.steps), default=0)
    return [
        _chart(signal, [signals.get(signal) for signals in of_runs], marks, last)
        for signal in _SIGNALS
        if sum(signal in signals for signals in of_runs) >= FEWEST_RUNS
    ]


def _readable(run: StoredRun) -> StoredRun:
    try:
        _ = run.columns
    except ValueError:
        from dataclasses import replace

        return replace(run, data=None)
    return run


def _chart(signal: str, of_runs: Sequence[Line | None], marks: list[dict[str, Any]], last: int) -> dict[str, Any]:
    line = next(each for each in of_runs if each is not None)
    known = [{} if each is None else dict(zip(each.steps, each.values, strict=True)) for each in of_runs]
    steps = sorted({step for each in known for step in each})
    return {
        "title": f"{line.title[:1].upper()}{line.title[1:]}",
        "kind": "overlay",
        "source": f"chart-{signal}",
        "caption": line.unit,
        "data": {
            "last": last,
            "marks": marks,
            "series": [
                {"name": LETTERS[place], "points": [] if each is None else _points(each)}
                for place, each in enumerate(of_runs)
            ],
        },
        "table": {
            "head": ["step", *LETTERS[: len(of_runs)]],
            "rows": [[str(step), *(_cell(each.get(step)) for each in known)] for step in steps[:_MOST_ROWS]],
            "left_out": max(0, len(steps) - _MOST_ROWS),
        },
    }


def _points(line: Line) -> list[list[float | None]]:
    return [
        [step, round(value, 4) if math.isfinite(value) else None]
        for step, value in thinned(line.steps, line.values, _MOST_POINTS)
    ]


def _cell(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"
