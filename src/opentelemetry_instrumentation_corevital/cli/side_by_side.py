"""`corevital compare RUN RUN`: two runs beside each other."""

from collections.abc import Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from .. import semconv
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..presentation.panel import level_style, sparkline
from ..store import StoredRun, open_store
from ..store.run_differences import (
    RUN_FIELDS,
    RunField,
    difference,
    difference_text,
    same_prompt,
    steps_alike,
    value_text,
)
from .output import print_json, write_csv
from .printing import console, tell_damage

_SPARKLINE_WIDTH: Final = 24
_MOST_CELL: Final = 2000
_WIDEST: Final = 120  # of a text that is read from line to line


def side_by_side(run_ids: Sequence[str], path: str, *, as_json: bool, as_csv: bool, source: Text) -> None:
    """Print two runs beside each other, and which store has them.

    Raises:
        UserError: if there are not two of them.
        StoreError: if one is not there.
    """
    if len(run_ids) != 2:
        raise UserError(f"Name two runs to see them side by side, not {len(run_ids)}.")
    with open_store(path) as store:
        first, second = (store.run(name) for name in run_ids)
        alike = steps_alike(*(store.columns(run) for run in (first, second)))
    rows = [(field, field.of(first), field.of(second)) for field in RUN_FIELDS]
    same = same_prompt((first, second))
    if as_json:
        print_json(
            {
                "runs": [run.summary.as_dict() for run in (first, second)],
                "same_prompt": same is True,
                "steps_alike": alike,
                "differences": {
                    field.name: {"first": a, "second": b, "difference": difference(field, a, b)}
                    for field, a, b in rows
                    if a != b
                },
            }
        )
    elif as_csv:
        written = [
            {"": field.name, "first": _flat(a), "second": _flat(b), "difference": difference(field, a, b)}
            for field, a, b in [(RunField("run", _name), _name(first), _name(second)), *rows]
        ]
        write_csv(written, ("", "first", "second", "difference"))
    else:
        _print(first, second, rows, same=same, alike=alike)
        console().print(source, soft_wrap=True)
    tell_damage((_name(run), run.damage) for run in (first, second))


def _print(
    first: StoredRun,
    second: StoredRun,
    rows: Sequence[tuple[RunField, Any, Any]],
    *,
    same: bool | None,
    alike: int | None,
) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", style="dim", no_wrap=True)
    for run in (first, second):
        table.add_column(_name(run), overflow="fold", ratio=1)
    table.add_column("2nd - 1st", justify="right", no_wrap=True)
    for field, a, b in rows:
        if a is None and b is None:
            continue
        table.add_row(
            field.name,
            *(_cell(field, value, run) for value, run in ((a, first), (b, second))),
            difference_text(field, a, b),
        )
    series = [run.attributes.get(semconv.SERIES_ENTROPY) or () for run in (first, second)]
    if all(series):
        top = max(max(values) for values in series)
        table.add_row("entropy by step", *(sparkline(values, _SPARKLINE_WIDTH, top=top) for values in series), "")
    out = console()
    out.print(table, width=min(out.width, _WIDEST))
    if alike:
        out.print(f"Step by step they are alike over the first {alike}.")
    if not same:
        told = "Whether they had the same prompt is not known." if same is None else "Their prompts differ."
        out.print(told, style="yellow")


def _name(run: StoredRun) -> str:
    return one_line(f"{run.summary.trace_id[:12]}:{run.summary.sequence_index}")


def _flat(value: Any) -> Any:
    return ";".join(str(each) for each in value) if isinstance(value, list) else value


def _cell(field: RunField, value: Any, run: StoredRun) -> Text:
    if value is None or value == []:
        return Text(value_text(field, value), "dim")
    style = level_style(run.summary.risk_level) if field.name in ("risk", "level") else ""
    return Text(one_line(value_text(field, value), _MOST_CELL), style)
