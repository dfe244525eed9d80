"""Runs as HTML for notebooks: of bounded size, without scripts, for light and dark pages.

It knows what a run shows, not where runs come from. Everything of a run is foreign text, and is escaped.
"""

import time
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from ..catalogue.spelling import for_people
from .escaped import escaped, that_fit
from .notebook_pictures import layer_pictures, line_pictures
from .notebook_style import CLASS, STYLE
from .notebook_tokens import token_strip
from .panel import verdict_lines
from .shapes import RunShape, SummaryShape
from .timeline import first_marks

MOST: Final = 12_000
"""Characters of one view."""
_MOST_ROWS: Final = 50
_MOST_DAMAGED: Final = 5
_MOST_NAME: Final = 60
_MOST_MARKS: Final = 8
_MOST_CELL: Final = 90
_MOST_NARRATIVE: Final = 700
_MOST_LINE: Final = 260
_ROOM_FOR_VERDICT: Final = 1_500
_ROOM_FOR_DETAILS: Final = 1_100
_ROOM_FOR_ROWS: Final = MOST - len(STYLE) - 1_600

_VERDICT: Final = (
    "answer risk",
    "flags",
    "early warnings",
    "interventions",
    "compound",
    "blame",
    "tokens",
    "error",
    "dropped",
)
"""Lines of the panel that are shown at once."""
_NOT_SHOWN: Final = ("prompt hash",)


def run_view(run: RunShape, tokens: Sequence[str] | None = None) -> str:
    """Return a run's verdict, its tokens, timelines and layers, in `MOST` characters.

    Args:
        run: the run.
        tokens: text of its first tokens, or None where it is not known.
    """
    verdict, details = _lines(run)
    begun = first_marks(run, _MOST_MARKS)
    parts = (
        _title(run.summary),
        _table(verdict, _ROOM_FOR_VERDICT),
        "" if tokens is None else token_strip(run, tokens, begun),
        line_pictures(run, begun),
        layer_pictures(run.columns),
        f"<details><summary>More</summary>{_table(details, _ROOM_FOR_DETAILS)}</details>",
    )
    return _within(parts)


def runs_view(runs: Sequence[SummaryShape]) -> str:
    """Return runs as a table, in `MOST` characters."""
    stored = any(run.trace_id for run in runs)
    heads = ("run", "started", "model", "risk", "flags", "tokens", "finish", *(["label"] if stored else []))
    rows = (_row(_cells(run, index, label=stored), "td") for index, run in enumerate(runs[:_MOST_ROWS]))
    kept, room = that_fit(rows, _ROOM_FOR_ROWS)
    more = len(runs) - len(kept)
    damaged = [run for run in runs[: len(kept)] if run.damage]
    told, _ = that_fit((_damaged(run) for run in damaged[:_MOST_DAMAGED]), max(room, 1_400))
    untold = len(damaged) - len(told)
    return _within(
        (
            f"<table>{_row(heads, 'th')}{''.join(kept)}</table>",
            *told,
            f"<p>{untold} more damaged runs</p>" if untold else "",
            f"<p>{more} more</p>" if more else "",
        )
    )


def _within(parts: Iterable[str]) -> str:
    return f'<div class="{CLASS}">{STYLE}{"".join(parts)}</div>'


def _lines(run: RunShape) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return what is said of a run at once, and what is folded away."""
    said = [(name, str(line)) for name, line in verdict_lines(run.attributes, run.dropped, run.interventions)]
    verdict = [(name, line) for name, line in said if name in _VERDICT]
    if run.damage:
        verdict.append(("damaged", f"{'; '.join(f'{name} {why}' for name, why in run.damage.items())}; left out"))
    if run.label is not None:
        verdict.append(("label", f"{run.label.outcome} {run.label.note or ''}"))
    return verdict, [(name, line) for name, line in said if name not in (*_VERDICT, *_NOT_SHOWN)]


def _title(run: SummaryShape) -> str:
    name = f" <code>{escaped(run.trace_id[:12], _MOST_NAME)}:{run.sequence_index}</code>" if run.trace_id else ""
    narrative = f"<p>{escaped(run.narrative, _MOST_NARRATIVE)}</p>" if run.narrative else ""
    return f"<p>{_risk(run, 'not judged')} {escaped(run.model or '-', _MOST_NAME)}{name}</p>{narrative}"


def _table(lines: Sequence[tuple[str, str]], room: int) -> str:
    """Return lines as a table of two columns; those that there is no room for are counted."""
    rows = [_row((escaped(name, _MOST_NAME), escaped(line, _MOST_LINE)), "td") for name, line in lines]
    kept, _ = that_fit(rows, room)
    more = f"<p>{len(rows) - len(kept)} more lines</p>" if len(kept) < len(rows) else ""
    return f"<table>{''.join(kept)}</table>{more}" if kept else more


def _cells(run: SummaryShape, index: int, *, label: bool) -> list[str]:
    flags = ", ".join(map(for_people, run.flags)) or ("-" if run.judged else "unknown")
    return [
        f"<code>{escaped(run.trace_id[:12], _MOST_NAME)}</code>" if run.trace_id else str(index),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.start_ns / 1e9)),
        escaped(run.model or "-", _MOST_NAME),
        _risk(run, "-"),
        escaped(flags, _MOST_CELL),
        "-" if run.output_tokens is None else str(run.output_tokens),
        escaped(run.error_type or run.stop_reason or run.finish_reason or "-", _MOST_NAME),
        *([escaped(run.label or "-", _MOST_NAME)] if label else []),
    ]


def _damaged(run: SummaryShape) -> str:
    what = "; ".join(f"{name} {why}" for name, why in run.damage.items())
    name = f"<code>{escaped(run.trace_id[:12], _MOST_NAME)}</code>"
    return f"<p>run {name} is damaged, and what is damaged left out: {escaped(what, _MOST_LINE)}</p>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(chain.from_iterable((f'<{tag}>', cell, f'</{tag}>') for cell in cells))}</tr>"


def _risk(run: SummaryShape, unknown: str) -> str:
    if run.risk_score is None:
        return unknown
    level = escaped(run.risk_level or "", _MOST_NAME)
    known = f" {level}" if level in ("low", "medium", "high") else ""
    return f'<b class="level{known}">{level} risk {run.risk_score:.2f}</b>'
