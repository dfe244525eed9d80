"""What `corevital compare` prints."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line, printable
from ..store.comparison import MEASURES, Difference, Distribution, Measure, ModelFigures
from ..store.filters import FLAGS
from ..store.intervals import ROUGH
from .printing import console

_BY_NAME: Final = {measure.name: measure for measure in MEASURES}
_MOST_MODEL: Final = 100
_UNITS: Final = {"pairs": "prompts", "runs": "runs each", "prompts": "unpaired"}


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
        for line in (*_without_interval(differing), *_rough(differing)):
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
    risk = _BY_NAME["risk_score"]
    table.add_row("runs", *(str(each.runs) for each in found))
    table.add_row("prompts", *(str(each.prompts) for each in found))
    table.add_row("risk, mean", *(_number(risk, _mean(each, risk.name)) for each in found))
    table.add_row("  median", *(_quantile(each.measures.get(risk.name), "median") for each in found))
    table.add_row("  10 to 90 %", *(_quantile(each.measures.get(risk.name), "q10", "q90") for each in found))
    table.add_row("  high", *(str(each.high_risk) if risk.name in each.measures else "-" for each in found))
    table.add_row("flagged", *(_fraction(each.measures.get("flagged")) for each in found))
    for flag in FLAGS:
        if any(_mean(each, flag) for each in found):
            table.add_row(f"  {_BY_NAME[flag].title}", *(_fraction(each.measures.get(flag)) for each in found))
    if any("correct" in each.measures for each in found):
        table.add_row(_BY_NAME["correct"].title, *(_fraction(each.measures.get("correct")) for each in found))
    for name in ("entropy_mean", "output_tokens"):
        measure = _BY_NAME[name]
        table.add_row(f"{_titled(measure)}, mean", *(_number(measure, _mean(each, name)) for each in found))
    return table


def _quantile(spread: Distribution | None, *names: str) -> str:
    return "-" if spread is None else "-".join(f"{getattr(spread, name):.2f}" for name in names)


def _differences(model: str, rows: Sequence[Difference], reference: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.title = Text(f"{one_line(model, _MOST_MODEL)} against {one_line(reference, _MOST_MODEL)}", "bold")
    for name in ("", "mean", "reference", "difference"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("over", no_wrap=True)
    for row in rows:
        measure, style = _BY_NAME[row.measure], "bold" if row.clear else ""
        interval = Text("-", "dim")
        if row.low is not None:
            interval = Text(f"{_number(measure, row.low, '+')} to {_number(measure, row.high, '+')}", style)
        table.add_row(
            _titled(measure),
            _number(measure, row.mean),
            _number(measure, row.reference_mean),
            Text(_number(measure, row.difference, "+"), style),
            interval,
            "" if row.no_interval else f"{row.units} {_UNITS[row.basis]}",
        )
    return table


def _without_interval(rows: Sequence[Difference]) -> list[str]:
    """Return why there is no interval, once for all that have none for the same reason."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.no_interval:
            reasons.setdefault(row.no_interval, []).append(_BY_NAME[row.measure].title)
    lines = []
    for reason, names in reasons.items():
        of = "" if len(names) == len(rows) else f" of {', '.join(names)}"
        lines.append(f"No interval{of}: {reason}.")
    return lines


def _rough(rows: Sequence[Difference]) -> list[str]:
    """Return what there is to beware of in intervals over few units."""
    fewest = min((row for row in rows if row.rough), key=lambda row: row.units, default=None)
    if fewest is None:
        return []
    what = {"pairs": "prompts", "runs": "runs each", "prompts": "prompts each"}[fewest.basis]
    few = f"Intervals over fewer than {ROUGH} {what} are rough, and here are {fewest.units}"
    return [f"{few}: what is rare may not have shown yet."]


def _titled(measure: Measure) -> str:
    unit = "%" if measure.fraction else measure.unit
    return f"{measure.title}{f', {unit}' if unit else ''}"


def _mean(each: ModelFigures, name: str) -> float | None:
    spread = each.measures.get(name)
    return None if spread is None else spread.mean


def _fraction(spread: Distribution | None) -> str:
    return "-" if spread is None else f"{round(spread.mean * spread.count)} of {spread.count}"


def _number(measure: Measure, value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    digits = 0 if measure.fraction or measure.name == "output_tokens" else 2
    shown = round(100 * value if measure.fraction else value, digits) + 0.0  # which makes -0 a 0
    return f"{shown:{sign}.{digits}f}"


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
