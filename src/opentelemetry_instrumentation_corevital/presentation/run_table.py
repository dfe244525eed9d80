"""The list of runs as a table that fits where it is printed."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .._internal.clock import CLOCK_SKEW_NS
from .._internal.printable import ELLIPSIS, one_line
from ..catalogue.spelling import for_people
from .panel import level_style
from .shapes import SummaryShape

TableColumns = dict[str, list[str]]

_ID_LENGTH: Final = 12
_GAP: Final = 2
_COMMA: Final = ", "
_GO_FIRST: Final = ("prompt", "warnings", "finish", "intervention", "tokens", "age", "label", "answer")
_NUMBERS: Final = ("distance", "age", "answer", "tokens")
_SHORTEST_MODEL: Final = 12
_MOST_MODEL: Final = 100
_LONG: Final = 40
_MOST_WORD: Final = 24
_MOST_WARNINGS: Final = 400


def runs_table(
    runs: Sequence[SummaryShape], width: int, distances: Sequence[float] | None = None
) -> tuple[Table, list[str]]:
    """Return a table of runs, and the names of columns that there was no room for.

    Where it is narrow, models lose their organisation, then columns go; ids, risks and flags are whole everywhere.

    Args:
        runs: the runs.
        width: of the place that it is printed to, in cells.
        distances: how far each is from another run; None: there is no such column.
    """
    columns, left_out = _columns(runs), list[str]()
    if distances is not None:
        columns = {"run": columns.pop("run"), "distance": [f"{each:.4f}" for each in distances], **columns}
    if _needed(columns) > width:
        columns["model"] = _short(columns["model"])
    if _needed(columns) > width:  # one long name is no reason to leave out what the others have
        for name in ("model", "finish"):
            columns[name] = [cell if len(cell) <= _LONG else f"{cell[: _LONG - 1]}{ELLIPSIS}" for cell in columns[name]]
    for name in _GO_FIRST:
        if _needed(columns) <= width:
            break
        if columns.pop(name, None) is not None:
            left_out.append(name)
    others = _needed({name: cells for name, cells in columns.items() if name != "model"})
    room = max(_SHORTEST_MODEL, width - others - _GAP)
    columns["model"] = [name if cell_len(name) <= room else f"{name[: room - 1]}\u2026" for name in columns["model"]]
    if "warnings" in columns:
        room = width - _needed({name: cells for name, cells in columns.items() if name != "warnings"}) - _GAP
        columns["warnings"] = [_in_lines(cell, room) for cell in columns["warnings"]]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, no_wrap=True, justify="right" if name in _NUMBERS else "left")
    for run, *cells in zip(runs, *columns.values(), strict=True):
        table.add_row(
            *(
                Text(cell, level_style(run.risk_level) if name == "risk" else "")
                for name, cell in zip(columns, cells, strict=True)
            )
        )
    return table, left_out


def verdict_line(run: SummaryShape, name: str | None = None) -> Text:
    """Return a run's name, risk, flags, tokens and end, as one line without a width.

    Args:
        run: the run.
        name: what it is called; None: as where its trace holds no other call.
    """
    flags = [for_people(flag) for flag in run.flags]
    tokens = [] if run.output_tokens is None else [f"{run.output_tokens} tokens"]
    end = [one_line(end, _MOST_MODEL) for end in (run.error_type or run.finish_reason,) if end]
    text = Text(f"run {name or name_of(run, alone=True)}: ").append(risk_words(run), level_style(run.risk_level))
    if flags:
        text.append(f", {', '.join(flags)}", "bold red")
    return text.append("".join(f", {each}" for each in [*tokens, *end]))


def risk_words(run: SummaryShape) -> str:
    """Return the level and the score of a run's risk, in words."""
    if run.risk_score is None:
        return "risk not judged"
    return f"{one_line(run.risk_level or '', _MOST_WORD)} risk {run.risk_score:.2f}".strip()


def _columns(runs: Sequence[SummaryShape]) -> TableColumns:
    now = time.time_ns()
    calls = Counter((run.trace_id, run.sequence_index) for run in runs)
    return {
        "run": [name_of(run, alone=calls[run.trace_id, run.sequence_index] == 1) for run in runs],
        "age": [age((now - run.start_ns) / 1e9) for run in runs],
        "model": [one_line(run.model or "-", _MOST_MODEL) for run in runs],
        "risk": [
            "-"
            if run.risk_score is None
            else f"{run.risk_score:.2f} {one_line(run.risk_level or '', _MOST_WORD)}".strip()
            for run in runs
        ],
        **_answers(runs),
        "flags": [_flags(run) for run in runs],
        "tokens": ["-" if run.output_tokens is None else str(run.output_tokens) for run in runs],
        "finish": [
            one_line(run.error_type or run.stop_reason or run.finish_reason or "-", _MOST_MODEL) for run in runs
        ],
        **_interventions(runs),
        "prompt": [one_line((run.prompt_hash or "-")[:8]) for run in runs],
        "label": [one_line(run.label or "-", _MOST_MODEL) for run in runs],
        "warnings": [_warnings(run) for run in runs],
    }


def _answers(runs: Sequence[SummaryShape]) -> TableColumns:
    """Return the column of the answer risk, where one of the runs has it."""
    if all(run.risk_answer is None for run in runs):
        return {}
    return {"answer": ["-" if run.risk_answer is None else f"{run.risk_answer:.2f}" for run in runs]}


def _interventions(runs: Sequence[SummaryShape]) -> TableColumns:
    """Return the column of what policies did, where they did anything to one of the runs."""
    if not any(run.intervention for run in runs):
        return {}
    return {"intervention": [one_line(run.intervention or "-", _MOST_WORD) for run in runs]}


def _warnings(run: SummaryShape) -> str:
    if run.warnings is None:
        return "unknown"
    return one_line(_COMMA.join(map(for_people, run.warnings)), _MOST_WARNINGS) or "-"


def _flags(run: SummaryShape) -> str:
    return ", ".join(map(for_people, run.flags)) or ("-" if run.judged else "unknown")


def name_of(run: SummaryShape, *, alone: bool) -> str:
    """Return the name by which `corevital show` finds a run.

    Args:
        run: the run.
        alone: whether its trace holds no other call.
    """
    if not alone:
        return one_line(run.span_id[:_ID_LENGTH])  # the trace holds several calls
    # One of several sequences: the call's own span has the operation.
    return one_line(run.trace_id[:_ID_LENGTH]) + (f":{run.sequence_index}" if run.operation is None else "")


def _needed(columns: TableColumns) -> int:
    """Return the width at which only warnings are wrapped, and those between their names."""
    total = _GAP * (len(columns) - 1)
    for name, cells in columns.items():
        parts = (f"{part}," for cell in cells for part in cell.split(_COMMA)) if name == "warnings" else cells
        total += max(map(cell_len, (name, *parts)))
    return total


def _in_lines(names: str, room: int) -> str:
    """Return names with line ends where they have to be, between names only."""
    first, *others = names.split(_COMMA)
    lines = [first]
    for name in others:
        if cell_len(f"{lines[-1]}{_COMMA}{name},") > room:
            lines[-1] += ","
            lines.append(name)
        else:
            lines[-1] += f"{_COMMA}{name}"
    return "\n".join(lines)


def _short(models: list[str]) -> list[str]:
    """Return models without their organisations, unless two would be called the same."""
    short = {name: name.rpartition("/")[2] for name in models}
    return [short[name] for name in models] if len(set(short.values())) == len(short) else models


def age(seconds: float) -> str:
    """Return a span of time in its largest unit; one that is not over yet, since a clock was wrong, as `ahead`."""
    if seconds < -CLOCK_SKEW_NS / 1e9:
        return "ahead"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
