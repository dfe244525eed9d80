"""What `corevital compare` prints."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line, printable
from ..store.comparison import MEASURES, Difference, ModelFigures
from ..store.comparison_rows import difference_rows, few_units, model_rows, without_interval
from .printing import console

_MOST_MODEL: Final = 100


def print_comparison(
    found: Sequence[ModelFigures], different: Sequence[Difference], notes: Sequence[str], source: Text
) -> None:
    """Print what the models show, how they differ from the first, and which store has them."""
    out = console()
    out.print(_models(found))
    for model, rows in groupby(different, lambda each: each.model):
        out.print()
        differing = list(rows)
        out.print(_differences(model, differing, found[0].model))
        for line in (*without_interval(differing), *few_units(differing)):
            out.print(line, style="dim", soft_wrap=True)
    if notes:
        out.print()
    for note in notes:
        out.print(Text(printable(note), "yellow"), soft_wrap=True)
    out.print(source, soft_wrap=True)


def _models(found: Sequence[ModelFigures]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for each in found:
        table.add_column(Text(one_line(each.model, _MOST_MODEL)), justify="right", overflow="fold")
    for row in model_rows(found):
        table.add_row(f"{'  ' if row.part else ''}{row.title}", *row.cells)
    return table


def _differences(model: str, rows: Sequence[Difference], reference: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.title = Text(f"{one_line(model, _MOST_MODEL)} against {one_line(reference, _MOST_MODEL)}", "bold")
    for name in ("", "mean", "reference", "difference"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("over", no_wrap=True)
    for row in difference_rows(rows):
        style = "bold" if row.clear else ""
        interval = Text("-", "dim") if row.interval is None else Text(row.interval, style)
        table.add_row(row.title, row.mean, row.reference, Text(row.difference, style), interval, row.over)
    return table


# --- for programs ------------------------------------------------------------------------------------------------


def as_json_value(
    found: Sequence[ModelFigures], different: Sequence[Difference], reference: str, notes: Sequence[str]
) -> dict[str, Any]:
    """Return everything, for JSON."""
    return {
        "reference": reference,
        "models": [asdict(each) for each in found],
        "differences": [{**asdict(each), "clear": each.clear, "rough": each.rough} for each in different],
        "notes": list(notes),
    }


_READABLE: Final = (
    *("model", "runs", "prompts", "failed", "high_risk", "risk_score_mean", "risk_score_median", "flagged_mean"),
    *("entropy_mean_mean", "output_tokens_mean", "seconds_mean"),
    *(
        "risk_score_difference",
        "risk_score_difference_low",
        "risk_score_difference_high",
        "risk_score_difference_units",
    ),
    *("flagged_difference", "flagged_difference_low", "flagged_difference_high"),
)
"""Columns that a person reads from left to right."""


def csv_rows(
    found: Sequence[ModelFigures], different: Sequence[Difference], *, wide: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return one row per model, with its differences from the first, and the columns: a few, or `wide` all."""
    rows = []
    for each in found:
        row = {name: value for name, value in asdict(each).items() if name != "measures"}
        for measure in MEASURES:
            spread = each.measures.get(measure.name)
            told = (
                ("count", "mean")
                if measure.fraction
                else ("count", "mean", "minimum", "q10", "median", "q90", "maximum")
            )
            row |= {f"{measure.name}_{what}": None if spread is None else getattr(spread, what) for what in told}
        for measure in MEASURES:
            mine = next((d for d in different if (d.model, d.measure) == (each.model, measure.name)), None)
            for what in ("difference", "low", "high", "units"):
                row[f"{measure.name}_difference_{what}".replace("difference_difference", "difference")] = (
                    None if mine is None else getattr(mine, what)
                )
        rows.append(row)
    return rows, list(rows[0] if wide else _READABLE)
